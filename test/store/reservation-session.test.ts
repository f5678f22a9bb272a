import { describe, expect, test } from 'bun:test';
import { resume, stop } from '../../src/session/control.ts';
import { pauseSession } from '../../src/store/control.ts';
import { brokenInvariants } from '../../src/store/invariants.ts';
import { getSession } from '../../src/store/session.ts';
import { abortTurn, endSession } from '../../src/store/settle.ts';
import { allReservations, DEAD, living, putReservations, REPO, rowOf } from '../support/reservation.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const OPERATOR = { name: 'operator', session: null };

async function holding(world: TestStore, more: Parameters<typeof seedSession>[1] = {}) {
  const session = await seedSession(world, more);
  await putReservations(
    world.store,
    { session_id: session.id, thread: 'mine', owner_session_id: session.id, token_hash: 'h', attach_reason: 'why' },
    { session_id: 'agent-second', thread: 'also-mine', owner_session_id: session.id },
    { session_id: 'agent-other', thread: 'not-mine', owner_session_id: 'agent-somebody' },
  );
  await world.store.write((tx) =>
    tx.run(
      `INSERT INTO path_reservations (id, repo_root, glob, owner_session_id, owner_name, created_at)
       VALUES ('path-a', '/farm', 'src/**', :id, 'me', 1), ('path-b', '/farm', 'docs/**', NULL, 'operator', 1)`,
      { id: session.id },
    ),
  );
  return session;
}

const statuses = async (world: TestStore) =>
  Object.fromEntries((await allReservations(world.store)).map((row) => [row.thread, row.status]));
const openPaths = async (world: TestStore) =>
  world.store.read((tx) => tx.all<{ id: string }>('SELECT id FROM path_reservations WHERE released_at IS NULL'));

describe('the end of a session ends what it holds, in the same transaction (MODEL §2.4, I19)', () => {
  test('completed: complete, with what it has used (H-17)', async () => {
    const world = await testStore();
    const session = await holding(world);
    await world.store.write((tx) => tx.run('UPDATE sessions SET tool_calls = 3, input_tokens = 42'));
    await endTurn(world, await takeTurn(world, session.id));
    expect((await getSession(world.store, session.id))?.state).toBe('completed');
    expect(await statuses(world)).toEqual({ mine: 'complete', 'also-mine': 'complete', 'not-mine': 'active' });
    const row = await rowOf(world.store, session.id);
    expect(row).toMatchObject({ input_tokens: 42, tool_calls: 3, cost_micros: null });
    expect(row?.completed_at).toBe((await getSession(world.store, session.id))?.ended_at as number);
    expect(await openPaths(world)).toEqual([{ id: 'path-b' }]);
  });

  test.each([
    ['stopped', (world: TestStore, row: { id: string }) => stop(world.deps, row as never)],
    [
      'zombie',
      (world: TestStore, { id }: { id: string }) =>
        endSession(world.store, {
          session_id: id,
          event: 'bury',
          actor: 'watchdog',
          reason: 'x',
          fence: 1,
          died: true,
          now: world.clock.now(),
        }),
    ],
    [
      'failed',
      (world: TestStore, { id }: { id: string }) =>
        abortTurn(world.store, { session_id: id, turn: 1, reason: 'spawn_error', now: world.clock.now() }),
    ],
  ] as const)('%s: abandoned', async (state, end) => {
    const world = await testStore();
    const session = await holding(world);
    await takeTurn(world, session.id);
    await end(world, session);
    expect((await getSession(world.store, session.id))?.state).toBe(state);
    expect(await statuses(world)).toEqual({ mine: 'abandoned', 'also-mine': 'abandoned', 'not-mine': 'active' });
    expect(await openPaths(world)).toEqual([{ id: 'path-b' }]);
  });

  test('parked is not an end', async () => {
    const world = await testStore();
    const session = await holding(world);
    await pauseSession(world.store, { session_id: session.id, reason: 'x', now: 5 });
    expect(await statuses(world)).toMatchObject({ mine: 'active', 'also-mine': 'active' });
    await resume(world.deps, OPERATOR, (await getSession(world.store, session.id)) as never, {});
    expect(await allReservations(world.store)).toHaveLength(3);
  });
});

describe('a session that is put back to work', () => {
  async function stopped(world: TestStore) {
    const session = await holding(world);
    await stop(world.deps, session);
    return (await getSession(world.store, session.id)) as NonNullable<Awaited<ReturnType<typeof getSession>>>;
  }
  const active = async (world: TestStore) =>
    (await allReservations(world.store)).filter((row) => row.status === 'active' && row.thread !== 'not-mine');

  test('has its threads again, as new rows with the old token (MODEL §2.4)', async () => {
    const world = await testStore();
    const session = await stopped(world);
    await resume(world.deps, OPERATOR, session, {});
    const rows = await active(world);
    expect(rows.map((row) => row.thread).sort()).toEqual(['also-mine', 'mine']);
    expect(rows.find((row) => row.thread === 'mine')).toMatchObject({
      ...{ owner_session_id: session.id, token_hash: 'h', attach_reason: 'why', completed_at: null, repo_root: REPO },
    });
    for (const row of rows) expect(row.session_id).not.toBe(session.id);
    // What has ended stays as it ended.
    expect((await rowOf(world.store, session.id))?.status).toBe('abandoned');
  });

  test('not what it had given up itself before', async () => {
    const world = await testStore();
    const session = await holding(world);
    await world.store.write((tx) =>
      tx.run("UPDATE reservations SET status = 'abandoned', completed_at = 9 WHERE thread = 'also-mine'"),
    );
    await world.store.write((tx) =>
      tx.run('UPDATE reservations SET completed_at = :now WHERE completed_at = 9', { now: world.clock.now() - 1_000 }),
    );
    await stop(world.deps, session);
    await resume(world.deps, OPERATOR, (await getSession(world.store, session.id)) as never, {});
    expect((await active(world)).map((row) => row.thread)).toEqual(['mine']);
  });

  test('is refused while somebody else has a thread of it, and nothing changes (live_owner, HC-31)', async () => {
    const world = await testStore();
    const session = await stopped(world);
    await putReservations(world.store, { session_id: 'agent-new', thread: 'mine', ...living() });
    const state = () =>
      world.store.read((tx) => [
        tx.all('SELECT * FROM reservations'),
        tx.all('SELECT * FROM sessions'),
        tx.all('SELECT * FROM mail'),
        tx.all('SELECT * FROM state_log'),
      ]);
    const before = await state();
    await expect(resume(world.deps, OPERATOR, session, {})).rejects.toMatchObject({
      ...{ code: 'live_owner', details: { preserved: 'nothing was changed' } },
    });
    expect(await state()).toEqual(before);
  });

  test('takes it from an owner that is dead', async () => {
    const world = await testStore();
    const session = await stopped(world);
    await putReservations(world.store, { session_id: 'agent-new', thread: 'mine', ...DEAD });
    await resume(world.deps, OPERATOR, session, {});
    expect((await rowOf(world.store, 'agent-new'))?.status).toBe('abandoned');
    expect((await active(world)).map((row) => row.thread).sort()).toEqual(['also-mine', 'mine']);
  });
});

describe('the doctor finds (CX-42, I19)', () => {
  const broken = async (world: TestStore) => {
    const found = await brokenInvariants(world.store, world.clock.now());
    return found.flatMap(({ id, rows }) => rows.map((row) => `${id}: ${row.id} ${row.detail}`));
  };

  test('nothing where all is well', async () => {
    const world = await testStore();
    const session = await seedSession(world);
    await putReservations(world.store, {
      owner_session_id: session.id,
      attach_precedence_json: '["a"]',
      probe_confidence: 0.5,
    });
    expect(await broken(world)).toEqual([]);
  });

  test('what outlived its session', async () => {
    const world = await testStore();
    const session = await seedSession(world);
    await stop(world.deps, session);
    await putReservations(
      world.store,
      { session_id: 'agent-a', thread: 'a', owner_session_id: session.id },
      { session_id: 'agent-b', thread: 'b', owner_session_id: 'nobody' },
    );
    await world.store.write((tx) =>
      tx.run(
        `INSERT INTO path_reservations (id, repo_root, glob, owner_session_id, owner_name, created_at) VALUES ('path-a', '/farm', 'x', :id, 'me', 1)`,
        { id: session.id },
      ),
    );
    expect((await broken(world)).sort()).toEqual([
      `reservations: agent-a active, while its session ${session.id} is stopped`,
      'reservations: agent-b active, while its session nobody does not exist',
      `reservations: path-a x is reserved, while its session ${session.id} is stopped`,
    ]);
  });

  test('records that cannot be read', async () => {
    const world = await testStore();
    const rows = ['{', '{}', '[1]'].map((attach_precedence_json, i) => ({
      session_id: `a${i}`,
      thread: `t${i}`,
      attach_precedence_json,
    }));
    await putReservations(
      world.store,
      ...rows,
      { session_id: 'B/x', thread: 'b' },
      { session_id: 'c', thread: 'c', probe_confidence: 7 },
    );
    expect((await broken(world)).sort()).toEqual([
      'records: B/x its id has characters that no id has',
      'records: a0 attach_precedence_json is no JSON',
      'records: a1 attach_precedence_json is not a list of texts',
      'records: a2 attach_precedence_json is not a list of texts',
      'records: c probe_confidence is not between 0 and 1',
    ]);
  });
});
