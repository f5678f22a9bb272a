import { describe, expect, test } from 'bun:test';
import type { HarnessEvent, Limit } from '../../src/model/harness.ts';
import { mayStart } from '../../src/model/pool.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { pauseSession, resumeSession, stopSession } from '../../src/store/control.ts';
import { listStateLog } from '../../src/store/event.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { getPool, isPoolKnown, poolUses, setPool } from '../../src/store/pool.ts';
import { movePools, poolsNeed } from '../../src/store/pool-advance.ts';
import { getSession, listSessions } from '../../src/store/session.ts';
import { claimTurn, dispatchable, nextDueAt, releaseDue, takeLease } from '../../src/store/turn.ts';
import {
  endTurn,
  feedTurn,
  seedSession,
  type TakenTurn,
  type TestStore,
  takeTurn,
  testStore,
} from '../support/store.ts';

const POOL = 'rehearsal';
const TOOL: HarnessEvent = { type: 'tool_use', tool: 'Bash', tool_id: 't', input: '', files: [] };
const USAGE: HarnessEvent = {
  ...{ type: 'usage', mode: 'add' },
  tokens: { input_tokens: 1, output_tokens: 1, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 },
};
const said = (limit: Partial<Limit> = {}): Limit => ({
  ...{ kind: 'usage_limit', status: 429, message: 'spent', resets_at: null, retry_after_ms: null, final: true },
  ...limit,
});

/** The turn ends because of this limit. */
const refuse = (world: TestStore, taken: TakenTurn, limit: Partial<Limit> = {}) =>
  endTurn(world, taken, { ok: false, settle: { exit_events: [{ type: 'limit', limit: said(limit) }] } });
const pool = async (world: TestStore) => {
  const row = await getPool(world.store, POOL);
  if (row === null) throw new Error('the pool has no row');
  return row;
};
const rows = async (world: TestStore): Promise<SessionRow[]> => (await listSessions(world.store, {})).reverse();
const row = async (world: TestStore, id: string) => (await getSession(world.store, id)) as SessionRow;
const states = async (world: TestStore) => (await rows(world)).map(({ state }) => state);
const advance = (world: TestStore, stagger_ms = 1_000) =>
  movePools(world.store, { now: world.clock.now(), stagger_ms });

async function herd(world: TestStore, count: number): Promise<SessionRow[]> {
  const all: SessionRow[] = [];
  for (let i = 0; i < count; i++) {
    all.push(await seedSession(world, { task: `task ${i}` }));
    world.clock.advance(2);
  }
  return all;
}

test('fifty sessions, one limit: one strike, all wait, one goes first, then the others one by one', async () => {
  const world = await testStore();
  const all = await herd(world, 50);
  const begun = [];
  for (const { id } of all.slice(0, 40)) begun.push(await takeTurn(world, id));
  const resets_at = world.clock.now() + 60_000;
  for (const [i, taken] of begun.entries()) await refuse(world, taken, i % 2 === 0 ? { resets_at } : {});
  expect(await pool(world)).toMatchObject({ state: 'blocked', strikes: 1, opens_at: resets_at, reason: 'usage_limit' });
  expect(await dispatchable(world.store, world.clock.now(), 99)).toEqual([]);
  expect(await advance(world)).toEqual(['pool rehearsal: 10 wait (usage_limit)']);
  expect(await poolsNeed(world.store, world.clock.now())).toBeNull();
  const parked = await rows(world);
  expect(
    new Set(
      parked.map((each) => [each.state, each.parked_reason, each.parked_pool, each.resume_at, each.attempt].join()),
    ),
  ).toEqual(new Set(['parked,usage_limit,rehearsal,,0']));
  expect(JSON.parse(parked[49]?.parked_evidence ?? '')).toMatchObject({ pool: POOL, opens_at: resets_at });
  expect(await nextDueAt(world.store, world.clock.now())).toBe(resets_at);

  world.clock.advance(resets_at - world.clock.now());
  expect(await advance(world)).toHaveLength(1);
  expect(await advance(world)).toEqual([]);
  const [probe, ...others] = all as [SessionRow, ...SessionRow[]];
  expect(await pool(world)).toMatchObject({ state: 'probing', probe_id: probe.id });
  expect(await dispatchable(world.store, world.clock.now(), 99)).toEqual([probe.id]);
  const taken = await takeTurn(world, probe.id);
  await feedTurn(world, taken, [{ type: 'text', text: 'You have hit your limit' }]);
  expect(await pool(world)).toMatchObject({ state: 'probing' });
  await feedTurn(world, taken, [TOOL]);
  expect(await pool(world)).toMatchObject({ state: 'open', strikes: 0, probe_id: null });

  const now = world.clock.now();
  expect(await movePools(world.store, { now, stagger_ms: 1_000 })).toEqual(['pool rehearsal: 49 follow']);
  const next = await Promise.all(others.map(async ({ id }) => (await row(world, id)).resume_at ?? 0));
  expect(next).toEqual(others.map((_, i) => now + 1 + i * 1_000));
  expect(await nextDueAt(world.store, now)).toBe(now + 1);
  expect(await releaseDue(world.store, now + 2_001, 'supervisor')).toBe(3);
  expect((await rows(world)).map(({ attempt }) => attempt)).toEqual(all.map(() => 0));
}, 60_000);

describe('a probe', () => {
  async function probing(): Promise<{ world: TestStore; all: SessionRow[]; taken: TakenTurn }> {
    const world = await testStore();
    const all = await herd(world, 3);
    await refuse(world, await takeTurn(world, all[0]?.id ?? ''), { retry_after_ms: 5_000 });
    await advance(world);
    world.clock.advance(5_000);
    await advance(world);
    return { world, all, taken: await takeTurn(world, all[0]?.id ?? '') };
  }

  test('that is refused parks again, and the next one waits longer; no attempt is spent', async () => {
    const { world, taken } = await probing();
    expect(await states(world)).toEqual(['booting', 'parked', 'parked']);
    await refuse(world, taken);
    expect(await states(world)).toEqual(['parked', 'parked', 'parked']);
    const { opens_at, strikes } = await pool(world);
    expect([strikes, Math.round(((opens_at ?? 0) - world.clock.now()) / 60_000)]).toEqual([2, 30]);
    expect((await rows(world)).map(({ attempt, resume_at }) => [attempt, resume_at])).toEqual(
      Array.from({ length: 3 }, () => [0, null]),
    );
  });

  test.each(['crash', 'stop', 'pause'] as const)('that is lost by a %s is followed by another', async (how) => {
    const { world, all, taken } = await probing();
    const session_id = all[0]?.id ?? '';
    if (how === 'crash') await endTurn(world, taken, { ok: false });
    if (how === 'stop') await stopSession(world.store, { session_id, actor: 'cli', reason: 'x', now: 1 });
    if (how === 'pause') await pauseSession(world.store, { session_id, reason: 'x', now: 1 });
    const news = await advance(world);
    expect(news.slice(0, 2)).toEqual([
      'pool rehearsal: its probe ended without an answer',
      expect.stringContaining('goes first'),
    ]);
    expect(await pool(world)).toMatchObject({ state: 'probing' });
    expect((await pool(world)).probe_id).toBe(all[how === 'crash' ? 0 : 1]?.id ?? '');
  });

  test('that ends well has opened the pool, also when its harness tells of nothing but the end', async () => {
    const { world, taken } = await probing();
    await endTurn(world, taken);
    expect(await pool(world)).toMatchObject({ state: 'open' });
  });

  test('by tokens as well; not by those of an answer that came with a limit', async () => {
    const { world, taken } = await probing();
    await feedTurn(world, taken, [{ type: 'limit', limit: said() }, USAGE]);
    expect(await pool(world)).toMatchObject({ state: 'probing' });
    const other = await probing();
    await feedTurn(other.world, other.taken, [USAGE]);
    expect(await pool(other.world)).toMatchObject({ state: 'open' });
  });

  test('is made by whoever is resumed by a person; a second one is refused meanwhile', async () => {
    const world = await testStore();
    const [first, second] = (await herd(world, 2)) as [SessionRow, SessionRow];
    await setPool(world.store, POOL, { type: 'block', opens_at: null, text: 'x' }, world.clock.now());
    await advance(world);
    expect((await row(world, first.id)).parked_reason).toBe('operator');
    const brief = { from_name: 'operator', from_id: null, type: 'nudge', priority: 'high' } as const;
    const resume = (session_id: string) =>
      resumeSession(world.store, {
        ...{ session_id, interrupt_reason: 'x', always_brief: false, now: world.clock.now() },
        brief: { ...brief, subject: 's', body: 'b', payload_json: null },
      });
    expect((await resume(second.id)).changed).toBe(true);
    expect(await pool(world)).toMatchObject({ state: 'probing', probe_id: second.id });
    await expect(resume(first.id)).rejects.toMatchObject({ code: 'pool_probing', kind: 'refused' });
    expect((await row(world, first.id)).state).toBe('parked');
    // Its answer does not lift what a person said of the pool: it goes on alone, and the next one may be sent as well.
    const taken = await takeTurn(world, second.id);
    await feedTurn(world, taken, [TOOL]);
    const stands = { state: 'blocked', reason: 'operator', opens_at: null, probe_id: null };
    expect(await pool(world)).toMatchObject(stands);
    expect(await advance(world)).toEqual([]);
    expect((await resume(first.id)).changed).toBe(true);
    await endTurn(world, taken);
    await endTurn(world, await takeTurn(world, first.id));
    expect(await states(world)).toEqual(['completed', 'completed']);
    expect(await pool(world)).toMatchObject(stands);
    await setPool(world.store, POOL, { type: 'release' }, world.clock.now());
    expect(await pool(world)).toMatchObject({ state: 'open' });
  });

  test('is one, also when two supervisors look at once', async () => {
    const world = await testStore();
    const all = await herd(world, 8);
    await refuse(world, await takeTurn(world, all[0]?.id ?? ''), { retry_after_ms: 1_000 });
    world.clock.advance(1_000);
    const second = await world.second();
    const input = { now: world.clock.now(), stagger_ms: 1 };
    await Promise.all([world.store, second, world.store, second].map((store) => movePools(store, input)));
    const counts = (await states(world)).reduce<Record<string, number>>((sum, state) => {
      sum[state] = (sum[state] ?? 0) + 1;
      return sum;
    }, {});
    expect(counts).toEqual({ queued: 1, parked: 7 });
  });

  test('waits for the next session when there is none, without a timer', async () => {
    const world = await testStore();
    const [only] = (await herd(world, 1)) as [SessionRow];
    await refuse(world, await takeTurn(world, only.id), { retry_after_ms: 1_000 });
    await stopSession(world.store, { session_id: only.id, actor: 'cli', reason: 'x', now: 1 });
    world.clock.advance(5_000);
    expect(await poolsNeed(world.store, world.clock.now())).toBeNull();
    expect(await nextDueAt(world.store, world.clock.now())).toBeNull();
    const late = await seedSession(world, { task: 'late' });
    await advance(world);
    expect(await pool(world)).toMatchObject({ state: 'probing', probe_id: late.id });
    expect((await listStateLog(world.store, late.id)).map(({ event }) => event)).toEqual(['sling']);
  });
});

describe('a refused login', () => {
  test('parks every session and tells a person once; a release lets them follow', async () => {
    const world = await testStore();
    const all = await herd(world, 5);
    const begun = [];
    for (const { id } of all) begun.push(await takeTurn(world, id));
    for (const taken of begun) await refuse(world, taken, { kind: 'auth', status: 401, message: 'log in' });
    expect(new Set((await rows(world)).map((each) => [each.state, each.parked_reason, each.resume_at].join()))).toEqual(
      new Set(['parked,operator,']),
    );
    expect(JSON.parse((await rows(world))[0]?.parked_evidence ?? '')).toMatchObject({ kind: 'auth' });
    const told = () => listMail(world.store, { to_id: null });
    const mails = await told();
    expect(mails.map(({ subject }) => subject)).toEqual([
      'The login of pool rehearsal is refused; then: drover pools release rehearsal',
    ]);
    expect(await nextDueAt(world.store, 0)).toBeNull();
    world.clock.advance(90 * 86_400_000);
    expect(await poolsNeed(world.store, world.clock.now())).toBeNull();
    await setPool(world.store, POOL, { type: 'release' }, world.clock.now());
    expect(await advance(world)).toEqual(['pool rehearsal: 5 follow']);
    expect(await releaseDue(world.store, world.clock.now() + 60_000, 'supervisor')).toBe(5);
    // The next wall is another one: told again. A person's block neither shortens what stands nor hides it: nobody calls with the bad login, nobody is told twice.
    const again = await takeTurn(world, all[0]?.id ?? '');
    await refuse(world, again, { kind: 'auth' });
    expect(await told()).toHaveLength(2);
    const opens_at = world.clock.now() + 1_000;
    await setPool(world.store, POOL, { type: 'block', opens_at, text: 'x' }, world.clock.now());
    world.clock.advance(5_000);
    expect(await advance(world)).toEqual(['pool rehearsal: 4 wait (auth)']);
    expect(await pool(world)).toMatchObject({ state: 'blocked', reason: 'auth', opens_at: null });
    expect(await told()).toHaveLength(2);
  });
});

describe('a throttle', () => {
  test('holds the whole pool until one instant, which its sessions share', async () => {
    const world = await testStore();
    const all = await herd(world, 4);
    const begun = [await takeTurn(world, all[0]?.id ?? ''), await takeTurn(world, all[1]?.id ?? '')];
    // Both began before the first of them was refused, also where all happens within a millisecond.
    world.clock.advance(1);
    for (const taken of begun) await refuse(world, taken, { kind: 'overloaded', status: 529 });
    const { retry_at, strikes, state } = await pool(world);
    expect([state, strikes]).toEqual(['open', 1]);
    const now = world.clock.now();
    expect(Math.round(((retry_at ?? 0) - now) / 1000)).toBe(15);
    for (const { id } of all.slice(0, 2)) {
      const { parked_reason, parked_pool, resume_at, attempt } = await row(world, id);
      expect([parked_reason, parked_pool, attempt]).toEqual(['rate_limit', null, 0]);
      expect((resume_at ?? 0) - (retry_at ?? 0)).toBe(1_000);
    }
    expect(await dispatchable(world.store, now, 9)).toEqual([]);
    expect(await nextDueAt(world.store, now)).toBe(retry_at);
    expect(await dispatchable(world.store, retry_at ?? 0, 9)).toEqual(all.slice(2).map(({ id }) => id));
  });
});

test("with its guard off, a pool's parked sessions go on, and a person's pause is left alone", async () => {
  const world = await testStore();
  const [first, paused] = (await herd(world, 2)) as [SessionRow, SessionRow];
  await setPool(world.store, POOL, { type: 'block', opens_at: null, text: 'x' }, 1);
  await advance(world);
  await pauseSession(world.store, { session_id: paused.id, reason: 'mine', now: world.clock.now() });
  await setPool(world.store, POOL, { type: 'off' }, 2);
  expect(await advance(world)).toEqual(['pool rehearsal: 1 follow']);
  expect((await row(world, first.id)).resume_at).not.toBeNull();
  expect(await row(world, paused.id)).toMatchObject({ state: 'parked', resume_at: null, parked_pool: null });
});

test('what the model says of a start, the claim and the queue say as well', async () => {
  const world = await testStore();
  const [a, b] = (await herd(world, 2)) as [SessionRow, SessionRow];
  const lease_fence = await takeLease(world.store, 'test', 1);
  const now = world.clock.now();
  const columns = [
    { state: 'open' },
    { state: 'open', retry_at: now },
    { state: 'open', retry_at: now + 1 },
    { state: 'blocked', blocked_at: 1, opens_at: now - 5 },
    { state: 'probing', blocked_at: 1, probe_id: a.id },
    { state: 'off', retry_at: now + 1 },
  ];
  for (const column of columns) {
    await world.store.write((tx) => {
      tx.run('DELETE FROM pools');
      const all = { retry_at: null, blocked_at: null, opens_at: null, probe_id: null, ...column, name: POOL, now };
      tx.run(
        `INSERT INTO pools (name, state, retry_at, blocked_at, opens_at, probe_id, updated_at)
         VALUES (:name, :state, :retry_at, :blocked_at, :opens_at, :probe_id, :now)`,
        all,
      );
    });
    const stored = await pool(world);
    const ready = await dispatchable(world.store, now, 9);
    for (const { id } of [a, b]) {
      const isFree = mayStart(stored, id, now) === 'go';
      expect([column, id, ready.includes(id)]).toEqual([column, id, isFree]);
      const claim = { session_id: id, lease_fence, marker: id, dir_of: () => '/x', token_hash: 'h', max_in_flight: 9 };
      expect([column, id, (await claimTurn(world.store, { ...claim, now })) !== null]).toEqual([column, id, isFree]);
      await world.store.write((tx) => {
        tx.run('DELETE FROM turns');
        tx.run("UPDATE sessions SET state = 'queued', turn = 0, token_hash = NULL");
        tx.run('UPDATE mail SET delivered_turn = NULL');
      });
    }
  }
});

test('which pools there are, and whom they hold', async () => {
  const world = await testStore();
  await seedSession(world, { pool: 'own' });
  await herd(world, 2);
  await setPool(world.store, POOL, { type: 'block', opens_at: null, text: 'x' }, 1);
  await setPool(world.store, 'unused', { type: 'off' }, 1);
  await advance(world);
  const uses = await poolUses(world.store, world.clock.now());
  expect(uses.map((each) => [each.name, each.state, each.live_count, each.parked_count])).toEqual([
    ['own', 'open', 1, 0],
    [POOL, 'blocked', 2, 2],
    ['unused', 'off', 0, 0],
  ]);
  const known = await Promise.all(['own', POOL, 'unused', 'nobody'].map((name) => isPoolKnown(world.store, name)));
  expect(known).toEqual([true, true, true, false]);
});
