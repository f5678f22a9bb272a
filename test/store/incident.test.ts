import { describe, expect, test } from 'bun:test';
import { listActivity } from '../../src/store/activity.ts';
import { importActivity } from '../../src/store/activity-import.ts';
import { unreadApprovals } from '../../src/store/approvals.ts';
import { pauseSession, stopSession } from '../../src/store/control.ts';
import { listDecisions } from '../../src/store/decision.ts';
import { listStateLog } from '../../src/store/event.ts';
import { transition } from '../../src/store/transition.ts';
import { getTurn } from '../../src/store/turn.ts';
import { endTurn, seedSession, type TestStore, takeTurn } from '../support/store.ts';
import { row } from './family.ts';
import { conflictMail, farm, handOff, open, PATH, resume } from './two-writers.ts';

describe('two live sessions wrote one path', () => {
  test('escalate: the later one is held, its lead is told, and a second pass does nothing (E-130, E-134, E-135, E-136, E-137, E-143)', async () => {
    const { world, write, judge } = await farm();
    await handOff(world, 'lead', 'session-b');
    await write('session-a', 2);
    await write('session-b', 3);
    const judged = await judge();
    expect([judged.created.length, judged.paused]).toEqual([1, ['session-b']]);
    expect([(await row(world, 'session-a')).state, (await row(world, 'session-b')).state]).toEqual([
      'queued',
      'parked',
    ]);
    const summary = `Escalated overlap on ${PATH}; paused later session session-b while session-a stays active`;
    expect(await open(world)).toMatchObject([
      {
        ...{ key: 'src/lib.rs::session-a::session-b', kind: 'overlap', path: PATH, strategy: 'escalate', summary },
        ...{ first_session_id: 'session-a', second_session_id: 'session-b', repo_root: '/farm' },
        ...{ first_action: 'modify', second_action: 'modify', resolved_at: null },
        ...{ active_session_id: 'session-a', paused_session_id: 'session-b' },
      },
    ]);
    const [decision, ...others] = await listDecisions(world.store, { session_id: 'session-b', limit: 9 });
    expect(others).toEqual([]);
    expect(decision).toMatchObject({ decision: `Pause work due to conflict on ${PATH}`, reasoning: summary, at: 10 });
    expect(JSON.parse(decision?.alternatives_json ?? '')).toEqual(['Keep session-a active', 'Continue concurrently']);
    const { counts } = await unreadApprovals(world.store, { limit: 9 });
    expect(Object.fromEntries(counts.map(({ to_id, unread }) => [to_id, unread]))).toEqual({ 'session-b': 1, lead: 1 });
    const [toLoser] = await conflictMail(world, 'session-b');
    expect(toLoser).toMatchObject({ from_id: 'session-a', type: 'conflict' });
    expect(toLoser?.body).toContain(PATH);
    expect(JSON.parse(toLoser?.payload_json ?? '')).toMatchObject({ file: PATH, description: summary });
    const [toLead] = await conflictMail(world, 'lead');
    expect(toLead?.from_id).toBe('session-b');
    expect(JSON.parse(toLead?.payload_json ?? '').description).toBe(`${summary} | delegate session-b paused`);
    expect(toLead?.body).toContain('delegate session-b paused');
    expect(await conflictMail(world, null)).toEqual([]);

    expect(await judge({ now: 11 })).toEqual({ created: [], paused: [] });
    expect(await open(world)).toHaveLength(1);
  });

  test('last_write_wins: the later one stays, the earlier is held, and nobody else is told unless asked (E-131)', async () => {
    const { world, write, judge } = await farm();
    await handOff(world, 'lead', 'session-a');
    await write('session-a', 2);
    await write('session-b', 3);
    const judged = await judge({ strategy: 'last_write_wins', notify_lead: false });
    expect([judged.created.length, judged.paused]).toEqual([1, ['session-a']]);
    expect([(await row(world, 'session-a')).state, (await row(world, 'session-b')).state]).toEqual([
      'parked',
      'queued',
    ]);
    expect(await open(world)).toMatchObject([
      { active_session_id: 'session-b', paused_session_id: 'session-a', strategy: 'last_write_wins' },
    ]);
    expect([await conflictMail(world, 'lead'), await conflictMail(world, null)]).toEqual([[], []]);
  });

  test('merge holds the later one (E-132)', async () => {
    const { world, write, judge } = await farm();
    await write('session-a', 2);
    await write('session-b', 3);
    expect((await judge({ strategy: 'merge' })).paused).toEqual(['session-b']);
    expect((await open(world))[0]?.summary).toContain('until merge review against session-a');
  });

  test('many files of the same two are many incidents and one hold (E-134)', async () => {
    const { world, write, judge } = await farm();
    for (const path of ['a', 'b', 'c']) {
      await write('session-a', 2, { path });
      await write('session-b', 3, { path });
    }
    const judged = await judge({ paths: ['a', 'b', 'c'] });
    expect([judged.created.length, judged.paused]).toEqual([3, ['session-b']]);
    const parks = (await listStateLog(world.store, 'session-b')).filter(({ event }) => event === 'park');
    expect(parks).toHaveLength(1);
  });

  test('nobody is held for one that is held itself', async () => {
    const { world, write, judge } = await farm();
    await seedSession(world, { id: 'session-c', name: 'c' });
    await write('session-a', 2, { path: 'x' });
    await write('session-b', 3, { path: 'x' });
    await write('session-b', 4, { path: 'y' });
    await write('session-c', 5, { path: 'y' });
    expect((await judge({ paths: ['x', 'y'] })).paused).toEqual(['session-b']);
    expect((await row(world, 'session-c')).state).toBe('queued');
    expect((await judge({ paths: ['x', 'y'] })).created).toEqual([]);
  });

  test('reads, other repositories, ended sessions and what is merged do not count (CX-25, CX-26)', async () => {
    const { world, write, judge } = await farm();
    await seedSession(world, { id: 'session-c', name: 'c', repo_root: '/barn', working_dir: '/barn' });
    await write('session-a', 2);
    await write('session-b', 3, { action: 'read' });
    await write('session-c', 4);
    expect((await judge()).created).toEqual([]);
    await write('session-b', 5);
    await world.store.write((tx) => tx.run("UPDATE sessions SET merged_at = 2 WHERE id = 'session-a'"));
    expect((await judge()).created).toEqual([]);
    await world.store.write((tx) => tx.run("UPDATE sessions SET merged_at = 1 WHERE id = 'session-a'"));
    await stopSession(world.store, { session_id: 'session-a', actor: 'cli', reason: 'x', now: 6 });
    expect((await judge()).created).toEqual([]);
  });

  test('the turn in flight is marked to be ended after the state was written, and its end changes nothing of that (E-134, MODEL §2.5)', async () => {
    const { world, write, judge } = await farm();
    const taken = await takeTurn(world, 'session-b');
    await write('session-a', 2);
    await write('session-b', 3);
    await judge();
    expect((await getTurn(world.store, 'session-b', 1))?.end_cause).toBe('pause');
    expect(await row(world, 'session-b')).toMatchObject({ state: 'parked', token_hash: null });
    const settled = await endTurn(world, taken, { settle: { exit: { code: null, signal: 'SIGTERM' } } });
    expect([settled.moved, settled.session.state, settled.session.parked_reason]).toEqual([
      false,
      'parked',
      'conflict',
    ]);
    // The mail waits for the turn in which it goes on.
    expect(await conflictMail(world, 'session-b')).toMatchObject([{ read_at: null, delivered_turn: null }]);
  });

  test('a limit that the turn ran into does not park it for something that ends by itself', async () => {
    const { world, write, judge } = await farm();
    const taken = await takeTurn(world, 'session-b');
    await write('session-a', 2);
    await write('session-b', 3);
    await world.store.write((tx) => tx.run("UPDATE turns SET end_cause = 'silent' WHERE session_id = 'session-b'"));
    await judge();
    const limit = JSON.stringify({
      ...{ kind: 'rate_limit', status: 429, message: '', resets_at: null, retry_after_ms: 1, final: true },
    });
    await world.store.write((tx) =>
      tx.run("UPDATE turns SET limit_json = :limit WHERE session_id = 'session-b'", { limit }),
    );
    const settled = await endTurn(world, taken, { ok: false });
    expect(settled.verdict.outcome).toBe('limited');
    expect(settled.session).toMatchObject({ state: 'parked', parked_reason: 'conflict', resume_at: null });
  });

  test('who waits for time is held for the conflict instead; who is held by a word stays so, and cannot go on either', async () => {
    const { world, write, judge } = await farm();
    await write('session-a', 2);
    await write('session-b', 3);
    await world.store.write((tx) =>
      transition(tx, {
        ...{ session_id: 'session-b', event: 'park', actor: 'supervisor', now: 4, fence: 0 },
        set: { parked_reason: 'rate_limit', resume_at: 5 },
      }),
    );
    expect((await judge()).paused).toEqual(['session-b']);
    expect(await row(world, 'session-b')).toMatchObject({ parked_reason: 'conflict', resume_at: null });

    const other = await farm();
    await other.write('session-a', 2);
    await other.write('session-b', 3);
    await pauseSession(other.world.store, { session_id: 'session-b', reason: 'lunch', now: 4 });
    const judged = await other.judge();
    expect([judged.created.length, judged.paused]).toEqual([1, []]);
    expect((await row(other.world, 'session-b')).parked_reason).toBe('operator');
    await expect(resume(other.world, 'session-b')).rejects.toMatchObject({ code: 'incident_open' });
  });

  test('the lead is the newest handoff sender, else the parent, else the operator, and never one of the two (E-136)', async () => {
    const lead = async (prepare: (world: TestStore) => Promise<unknown>) => {
      const { world, write, judge } = await farm();
      await prepare(world);
      await write('session-a', 2);
      await write('session-b', 3);
      await judge();
      const readers = await Promise.all(
        ['lead', 'session-a', null].map(async (id) => ((await conflictMail(world, id)).length > 0 ? [id] : [])),
      );
      return readers.flat();
    };
    const parent = (id: string) => (world: TestStore) =>
      world.store.write((tx) => tx.run("UPDATE sessions SET parent_id = :id WHERE id = 'session-b'", { id }));
    expect(await lead(parent('lead'))).toEqual(['lead']);
    expect(await lead(parent('session-a'))).toEqual([]);
    expect(
      await lead(async (world) => [await parent('session-a')(world), await handOff(world, 'lead', 'session-b')]),
    ).toEqual(['lead']);
    expect(await lead(async () => undefined)).toEqual([null]);
    const ended = async (world: TestStore) => {
      await parent('lead')(world);
      await stopSession(world.store, { session_id: 'lead', actor: 'cli', reason: 'x', now: 1 });
    };
    expect(await lead(ended)).toEqual([null]);
  });

  test('two connections that judge the same writes at once make one incident, one hold and one mail each (I14)', async () => {
    const { world, write, judge } = await farm();
    const second = await world.second();
    for (let round = 0; round < 10; round++) {
      const path = `src/${round}.rs`;
      await write('session-a', 2, { path });
      await write('session-b', 3, { path });
    }
    const paths = Array.from({ length: 10 }, (_, round) => `src/${round}.rs`);
    const all = await Promise.all(
      paths.flatMap((path) => [world.store, second].map((store) => judge({ store, paths: [path] }))),
    );
    const keys = all.flatMap(({ created }) => created.map(({ key }) => key));
    expect(keys.length).toBe(new Set(keys).size);
    expect(all.flatMap(({ paused }) => paused)).toEqual(['session-b']);
    // Whoever is held already does not count any more, so the first path may be the only one.
    expect(keys.length).toBeGreaterThan(0);
    expect(await open(world)).toHaveLength(keys.length);
    expect(await conflictMail(world, 'session-b')).toHaveLength(keys.length);
  });

  test('a key that is open is not opened again, by the index alone (I14)', async () => {
    const { world, write, judge } = await farm();
    await write('session-a', 2);
    await write('session-b', 3);
    await judge();
    const again = () =>
      world.store.write((tx) =>
        tx.run(
          "INSERT INTO incidents SELECT 'incident-2', key, repo_root, kind, path, first_session_id, second_session_id, first_action, second_action, active_session_id, paused_session_id, strategy, summary, prediction_json, created_at, updated_at, resolved_at, resolution FROM incidents",
        ),
      );
    await expect(again()).rejects.toThrow('UNIQUE');
  });
});

test('an imported log counts once per id; unknown sessions and files outside are counted (E-142)', async () => {
  const { world } = await farm();
  const event = (id: string, session_id: string, path: string) => ({
    ...{ id, session_id, file_events: [{ path, action: 'modify' as const }], timestamp: 2 },
  });
  const events = [
    event('evt-1', 'session-a', '/farm/src/lib.rs'),
    event('evt-1', 'session-a', 'other.rs'),
    event('evt-1', 'session-b', 'src/lib.rs'),
    event('evt-2', 'nobody', 'src/lib.rs'),
    event('evt-3', 'session-a', '/etc/passwd'),
  ];
  expect(await importActivity(world.store, events)).toEqual({
    ...{ imported: 2, files: 2, duplicates: 1, unknown_sessions: 1, without_files: 1 },
  });
  expect(await importActivity(world.store, events)).toMatchObject({ imported: 0, files: 0, duplicates: 3 });
  expect(await listActivity(world.store, { session_id: 'session-a', limit: 9 })).toMatchObject([
    { path: 'src/lib.rs', action: 'modify', source: 'import', event_id: 'import:evt-1', at: 2, turn: null },
  ]);
});
