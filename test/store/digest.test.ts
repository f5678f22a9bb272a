import { describe, expect, test } from 'bun:test';
import { newId } from '../../src/model/id.ts';
import { stopSession } from '../../src/store/control.ts';
import { digestOf, newsFor, sendDigest } from '../../src/store/digest.ts';
import { listMail } from '../../src/store/mail-list.ts';
import type { NewSession, Sling } from '../../src/store/new-session.ts';
import { setPool } from '../../src/store/pool.ts';
import { listSessions } from '../../src/store/session.ts';
import type { VerdictDraft } from '../../src/store/verdict.ts';
import { recordVerdict } from '../../src/store/watch-act.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore, verdictOf } from '../support/store.ts';
import { mailTo } from './family.ts';

const DESKS = { desk: '/state/patrol', other: '/state/triage' };

const news = (world: TestStore) => newsFor(world.store, DESKS, world.clock.now());

async function judged(world: TestStore, session_id: string, more: Partial<VerdictDraft> = {}): Promise<void> {
  await recordVerdict(world.store, verdictOf({ session_id, turn: 1 }, { at: world.clock.now(), ...more }));
}

function slingOf(world: TestStore): Sling {
  const draft: NewSession = {
    ...{ id: newId('agent'), name: 'patrol', role: 'monitor', harness: 'rehearsal', task: 'look', project: 'd' },
    ...{ task_group: 'w', profile_name: null, profile_json: null, model: null, repo_root: DESKS.desk },
    ...{
      branch: null,
      base_ref: null,
      base_branch: null,
      parent_id: null,
      depth: 0,
      run_id: null,
      recovered_from: null,
    },
    is_persistent: 0,
    ...{ native_session_id: null, worktree_path: null, max_turns: null, timeout_ms: null, prompt_version: null },
    ...{ pool: 'rehearsal', working_dir: DESKS.desk },
  };
  const brief = { from_name: 'drover', from_id: null, type: 'task', priority: 'normal', subject: 's', body: 'look' };
  return {
    draft,
    brief: { ...brief, payload_json: null } as Sling['brief'],
    is_name_chosen: false,
    limits: { max_children: 0 },
    new_id: () => newId('agent'),
    now: world.clock.now(),
  };
}

async function send(world: TestStore, of?: Awaited<ReturnType<typeof news>>): Promise<boolean> {
  return sendDigest(world.store, {
    ...{ desk: DESKS.desk, sling: slingOf(world), news: of ?? (await news(world)), subject: 'one', body: 'mute: late' },
    now: world.clock.now(),
  });
}

const patrols = async (world: TestStore) => await listSessions(world.store, { repo_root: DESKS.desk });

/** The patrol reads what waits, and rests. */
async function reads(world: TestStore): Promise<void> {
  const [patrol] = await patrols(world);
  const taken = await takeTurn(world, patrol?.id ?? '');
  await endTurn(world, taken, { settle: { is_persistent: true } });
}

describe('what the patrol has not been told (tier 2)', () => {
  test('verdicts that are not well, and acts; escalations apart; its own and those of triage never', async () => {
    const world = await testStore();
    const { id } = await seedSession(world, { name: 'mute' });
    expect(await news(world)).toEqual({
      count: 0,
      grave: 0,
      newest: 0,
      until: 0,
      sent_at: null,
      is_waiting: false,
      failed: 0,
    });
    await judged(world, id, { health: 'ok', act: 'none' });
    for (const repo_root of Object.values(DESKS)) await judged(world, (await seedSession(world, { repo_root })).id);
    expect((await news(world)).count).toBe(0);
    await judged(world, id);
    await judged(world, id, { health: 'ok', act: 'extend', level: 1 });
    expect(await news(world)).toMatchObject({ count: 2, grave: 0 });
    await judged(world, id, { act: 'triage', level: 2 });
    expect(await news(world)).toMatchObject({ count: 3, grave: 1 });
  });

  test('what is older than a day is history', async () => {
    const world = await testStore();
    await judged(world, (await seedSession(world)).id);
    world.clock.advance(86_400_000 - 60_000);
    expect((await news(world)).count).toBe(1);
    world.clock.advance(60_001);
    expect((await news(world)).count).toBe(0);
  });

  test('a digest has one line per session: the newest verdict, and all that was done', async () => {
    const world = await testStore();
    const [a, b] = [await seedSession(world, { name: 'a' }), await seedSession(world, { name: 'b' })];
    await judged(world, b.id, { act: 'none', evidence: 'b once' });
    await judged(world, a.id, { act: 'note', evidence: 'a once' });
    await judged(world, a.id, { act: 'nudge', evidence: 'a twice', level: 1 });
    const found = await news(world);
    await judged(world, b.id, { evidence: 'later' });
    const lines = await digestOf(world.store, DESKS, found, world.clock.now());
    expect(lines.map(({ name, evidence, acts }) => [name, evidence, acts])).toEqual([
      ['a', 'a twice', 'note, nudge'],
      ['b', 'b once', null],
    ]);
  });
});

describe('it is told once', () => {
  test('one patrol and one mail; told again only when there is more, and after it has read', async () => {
    const world = await testStore();
    const { id } = await seedSession(world, { name: 'mute' });
    await judged(world, id);
    expect(await send(world)).toBe(true);
    const [patrol, ...others] = await patrols(world);
    expect([patrol?.role, patrol?.name, others.length]).toEqual(['monitor', 'patrol', 0]);
    expect((await mailTo(world, patrol?.id ?? '', 'health_check')).map(({ body }) => body)).toEqual(['mute: late']);
    expect(await news(world)).toMatchObject({ count: 0, is_waiting: true });
    await judged(world, id, { act: 'nudge', level: 1 });
    expect([(await news(world)).count, await send(world)]).toEqual([1, false]);
    await reads(world);
    expect(await news(world)).toMatchObject({ count: 1, is_waiting: false });
    expect(await send(world)).toBe(true);
    expect([(await patrols(world)).length, (await mailTo(world, patrol?.id ?? '', 'health_check')).length]).toEqual([
      1, 2,
    ]);
  });

  test('two looks at once tell it once, whether or not it lives', async () => {
    const world = await testStore();
    const { id } = await seedSession(world, { name: 'mute' });
    const other = { ...world, store: await world.second() };
    for (const round of [1, 2]) {
      await judged(world, id);
      const found = await news(world);
      const sent = await Promise.all([send(world, found), send(other, found)]);
      expect([round, sent.filter((landed) => landed).length, (await patrols(world)).length]).toEqual([round, 1, 1]);
      await reads(world);
      // A look that is late with the same news.
      expect(await send(other, found)).toBe(false);
    }
  });

  test('one that ended is followed by another, which is told what nobody has read', async () => {
    const world = await testStore();
    const { id } = await seedSession(world, { name: 'mute' });
    await judged(world, id);
    await send(world);
    const [first] = await patrols(world);
    await stopSession(world.store, { session_id: first?.id ?? '', actor: 'cli', reason: 'x', now: world.clock.now() });
    expect(await news(world)).toMatchObject({ count: 1, until: 0, is_waiting: false });
    expect((await news(world)).sent_at).not.toBeNull();
    expect(await send(world)).toBe(true);
    expect((await patrols(world)).map(({ state }) => state).sort()).toEqual(['queued', 'stopped']);
  });

  test('patrols that end without having read are counted, and the operator is told once in a row of them', async () => {
    const world = await testStore();
    await judged(world, (await seedSession(world, { name: 'mute' })).id);
    const told = async () => (await listMail(world.store, { to_id: null })).map(({ subject }) => subject);
    const fail = async () => {
      const living = (await patrols(world)).find(({ ended_at }) => ended_at === null);
      await endTurn(world, await takeTurn(world, living?.id ?? ''), { ok: false, settle: { max_attempts: 1 } });
    };
    for (let round = 0; round < 6; round += 1) {
      expect([round, (await news(world)).failed, await send(world)]).toEqual([round, round, true]);
      expect([round, await told()]).toEqual([round, round < 3 ? [] : ['The patrol does not work']]);
      await fail();
    }
    await send(world);
    const [living] = (await patrols(world)).filter(({ ended_at }) => ended_at === null);
    await endTurn(world, await takeTurn(world, living?.id ?? ''), { settle: { is_persistent: true } });
    expect(await news(world)).toMatchObject({ count: 0, failed: 0, is_waiting: false });
    // What ended before does not count against those that follow.
    await judged(world, (await seedSession(world, { name: 'dumb' })).id);
    const now = world.clock.now();
    await stopSession(world.store, { session_id: living?.id ?? '', actor: 'cli', reason: 'x', now });
    expect([await send(world), (await news(world)).failed]).toEqual([true, 0]);
    expect(await told()).toEqual(['The patrol does not work']);
  });

  test('not while its pool is shut', async () => {
    const world = await testStore();
    await judged(world, (await seedSession(world)).id);
    const now = world.clock.now();
    await setPool(world.store, 'rehearsal', { type: 'block', opens_at: null, text: 'wait' }, now);
    expect([await send(world), (await patrols(world)).length]).toEqual([false, 0]);
  });
});
