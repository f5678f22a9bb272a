import { describe, expect, test } from 'bun:test';
import { RESERVATION_STATUSES } from '../../src/model/reservation.ts';
import { reservationPredecessors } from '../../src/model/reservation-machine.ts';
import { ownerProbe } from '../../src/session/owner-probe.ts';
import { listContextQueries, logContextQuery } from '../../src/store/context-query.ts';
import {
  deleteReservation,
  moveReservation,
  pruneExpired,
  type ReservationPatch,
  tryReserve,
  updateReservation,
} from '../../src/store/reservation.ts';
import { listReservations } from '../../src/store/reservation-list.ts';
import {
  allReservations,
  DAY_MS,
  DEAD,
  draft,
  living,
  putReservations,
  REPO,
  reserveThread,
  rowOf,
} from '../support/reservation.ts';
import { type TestStore, testStore } from '../support/store.ts';

const may = () => undefined;
const ids = (rows: readonly { session_id: string }[]) => rows.map((row) => row.session_id);
const everything = { repo_root: REPO, active_only: false };

function update(world: TestStore, session_id: string, change: () => ReservationPatch, active_only = false) {
  return updateReservation(world.store, { session_id, active_only, may, update: change, now: world.clock.now() });
}

function move(
  world: TestStore,
  session_id: string,
  to: (typeof RESERVATION_STATUSES)[number],
  mover = 'owner' as const,
) {
  return moveReservation(world.store, { session_id, to, mover, may, now: world.clock.now() });
}

describe('changing one', () => {
  test('★ metadata are kept as they are (H-20, H-16, H-17)', async () => {
    const world = await testStore();
    await putReservations(world.store, { session_id: 'agent-m' });
    const now = world.clock.now();
    const patch = {
      ...{ harness: 'claude-code', thinking_level: 'deep', report_flush_state: 'pending-local' },
      ...{ attach_reason: 'attached from test metadata update', winning_attach_rule: 'matched-current-session' },
      ...{ attach_precedence_json: '["matched-current-session"]', probe_source: 'argv_env', probe_confidence: 0.75 },
      ...{ last_progress_at: now, input_tokens: 42, native_instance_key: 'sess-123' },
    };
    const updated = await update(world, 'agent-m', () => patch);
    expect(updated).toMatchObject(patch);
    expect(await rowOf(world.store, 'agent-m')).toEqual(updated);
    expect(updated).toMatchObject({ output_tokens: null, status: 'active' });
  });

  test('an id that nobody has is no error and makes nothing (H-22, H-23, H-24)', async () => {
    const world = await testStore();
    expect(await update(world, 'agent-no', () => ({ model: 'x' }))).toBeNull();
    expect(await move(world, 'agent-no', 'complete')).toEqual({ ok: false, reason: 'not_found', row: null });
    expect(await allReservations(world.store)).toEqual([]);
  });

  test('two writers lose nothing of each other (H-23)', async () => {
    const world = await testStore();
    await putReservations(world.store, { session_id: 'a', tool_calls: 0 });
    const second = await world.second();
    const add = (store: typeof second) =>
      updateReservation(store, {
        ...{ session_id: 'a', active_only: true, may, now: 5 },
        update: (row) => ({ tool_calls: (row.tool_calls ?? 0) + 1 }),
      });
    await Promise.all(Array.from({ length: 40 }, (_, i) => add(i % 2 === 0 ? second : world.store)));
    expect((await rowOf(world.store, 'a'))?.tool_calls).toBe(40);
  });

  test('no way replaces a record as a whole: a new one never takes the place of an old one (H-21)', async () => {
    const world = await testStore();
    const [before] = await putReservations(world.store, { session_id: 'agent-a', thread: 'one' });
    await reserveThread(world, 'two', { ids: ['agent-a'], draft: { attach_reason: 'new' } });
    expect(await rowOf(world.store, 'agent-a')).toEqual(before as never);
  });

  test('every id is checked before it is looked at (H-03)', async () => {
    const world = await testStore();
    const before = await putReservations(world.store, { session_id: 'agent-a' });
    for (const id of ['..', 'a/b', 'AGENT', '', 'a_b']) {
      const remove = () => deleteReservation(world.store, { session_id: id, force: true, may, now: 1 });
      for (const call of [() => update(world, id, () => ({})), () => move(world, id, 'complete'), remove])
        await expect(call()).rejects.toMatchObject({ code: 'session_id_invalid' });
    }
    expect(await allReservations(world.store)).toEqual(before);
  });

  test('the machine, every status × every status × both movers, on real rows (H-24, CX-05, MODEL §3)', async () => {
    const world = await testStore();
    for (const mover of ['owner', 'merge'] as const)
      for (const from of RESERVATION_STATUSES)
        for (const to of RESERVATION_STATUSES.filter((status) => status !== 'active' || from === 'active')) {
          const session_id = `${mover}-${from}-${to}`;
          const completed_at = from === 'active' ? null : 77;
          const started_at = world.clock.now();
          const [before] = await putReservations(world.store, {
            session_id,
            thread: session_id,
            status: from,
            started_at,
            completed_at,
          });
          // Rows that ended in 1970 would have expired.
          if (completed_at !== null)
            await world.store.write((tx) =>
              tx.run('UPDATE reservations SET completed_at = :at WHERE session_id = :session_id', {
                at: started_at,
                session_id,
              }),
            );
          const now = started_at + 5;
          const moved = await moveReservation(world.store, { session_id, to, mover, may, now });
          const after = await rowOf(world.store, session_id);
          const isLegal = reservationPredecessors(to, mover).includes(from);
          const name = `${from} > ${to} by ${mover}`;
          if (from === to) expect([name, moved]).toEqual([name, { ok: true, changed: false, row: after as never }]);
          else if (isLegal) expect([name, moved.ok, after?.status]).toEqual([name, true, to]);
          else expect([name, moved]).toEqual([name, { ok: false, reason: 'illegal_transition', row: after as never }]);
          if (from === to || !isLegal) expect(after?.status).toBe(from);
          if (from === 'active' && isLegal) expect(after?.completed_at).toBe(now);
          // When it ended, that stays the time of its end.
          if (from !== 'active') expect(after?.completed_at).toBe(started_at);
          expect(after?.thread).toBe(before?.thread as string);
        }
  });

  test('deleting: absent is fine, active needs force, and only the record goes (H-01, H-25)', async () => {
    const world = await testStore();
    await putReservations(
      world.store,
      { session_id: 'a' },
      { session_id: 'b', status: 'complete', started_at: world.clock.now() },
    );
    const remove = (session_id: string, force = false) =>
      deleteReservation(world.store, { session_id, force, may, now: world.clock.now() });
    await logContextQuery(world.store, { session_id: 'a', path: 'p', scope: null, now: 1 });
    expect([await remove('nobody'), await remove('b'), await remove('b'), await remove('a')]).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(ids(await allReservations(world.store))).toEqual(['a']);
    expect(await remove('a', true)).toBe(true);
    expect([await allReservations(world.store), await listContextQueries(world.store, 'a')]).toEqual([[], []]);
  });
});

describe('what has expired', () => {
  test('★ is not listed and is deleted: complete, eight days ago (H-26, H-27)', async () => {
    const world = await testStore();
    const now = world.clock.now();
    await putReservations(
      world.store,
      { session_id: 'agent-stale', thread: 'a', status: 'complete', completed_at: now - 8 * DAY_MS },
      { session_id: 'agent-active', thread: 'b' },
    );
    const listed = await listReservations(world.store, everything, now);
    expect([ids(listed.rows), listed.expired]).toEqual([['agent-active'], 1]);
    await pruneExpired(world.store, now);
    expect(await rowOf(world.store, 'agent-stale')).toBeNull();
    expect((await listReservations(world.store, everything, now)).expired).toBe(0);
  });

  test('★ is nobody when it is asked for, and then gone: merged, eight days ago (H-28)', async () => {
    const world = await testStore();
    const now = world.clock.now();
    await putReservations(world.store, { session_id: 'a', status: 'merged', completed_at: now - 8 * DAY_MS });
    await world.store.write((tx) => tx.run("INSERT INTO context_queries VALUES ('a', 1, 'p', NULL, 1)"));
    expect(await update(world, 'a', () => ({ model: 'x' }))).toBeNull();
    expect(await allReservations(world.store)).toEqual([]);
    expect(await listContextQueries(world.store, 'a')).toEqual([]);
  });

  test('exactly seven days is too long; a millisecond less is not; an active one has no age (H-29)', async () => {
    const world = await testStore();
    const now = 100 * DAY_MS;
    const ended = (session_id: string, completed_at: number) => ({
      ...{ session_id, thread: session_id, status: 'abandoned' as const, started_at: 1, completed_at },
    });
    await putReservations(world.store, ...[ended('exact', now - 7 * DAY_MS), ended('younger', now - 7 * DAY_MS + 1)], {
      session_id: 'active',
      started_at: 1,
    });
    expect(ids((await listReservations(world.store, everything, now)).rows).sort()).toEqual(['active', 'younger']);
    await pruneExpired(world.store, now);
    expect(ids(await allReservations(world.store))).toEqual(['active', 'younger']);
  });
});

describe('coming back (H-45)', () => {
  const again = (world: TestStore, client: string, more: { new_id?: () => string } = {}) => {
    const now = world.clock.now();
    return tryReserve(world.store, {
      ...{ repo_root: REPO, thread: 'it', probe: ownerProbe(now), now, new_id: more.new_id ?? (() => 'agent-made') },
      build: (id) => draft(id, { thread: 'it', client_instance_id: client, started_at: now }),
      reconnect: {
        match: { owner_session_id: null, client_instance_id: client },
        process: living(),
        update: () => ({ ...living(), heartbeat_at: now }),
      },
    });
  };

  test('the same instance finds its own, dead or not, and takes it up', async () => {
    const world = await testStore();
    const now = world.clock.now();
    await putReservations(world.store, {
      session_id: 'mine',
      thread: 'it',
      client_instance_id: 'c',
      ...DEAD,
      started_at: now,
    });
    expect(await again(world, 'c')).toMatchObject({
      ...{ outcome: 'reserved', created: false, entry: { session_id: 'mine', ...living(), status: 'active' } },
    });
    expect(ids(await allReservations(world.store))).toEqual(['mine']);
    // It lives now: another instance has to wait.
    expect(await again(world, 'other')).toMatchObject({ outcome: 'live_owner', entry: { session_id: 'mine' } });
  });

  test('another process of the same instance waits while one lives that has it (H-39, H-45)', async () => {
    const world = await testStore();
    const { pid_start_time, boot_id } = living();
    // Whose start nobody knows is not this process for certain.
    const [mine] = await putReservations(world.store, {
      ...{ session_id: 'mine', thread: 'it', client_instance_id: 'c', pid: process.pid, boot_id, heartbeat_at: 5 },
    });
    expect(await again(world, 'c')).toEqual({ outcome: 'live_owner', entry: mine as never, reaped: 0 });
    expect(await allReservations(world.store)).toEqual([mine as never]);
    await world.store.write((tx) =>
      tx.run('UPDATE reservations SET pid_start_time = :pid_start_time', { pid_start_time }),
    );
    expect(await again(world, 'c')).toMatchObject({ outcome: 'reserved', created: false });
  });

  test('of a session only that session', async () => {
    const world = await testStore();
    await putReservations(world.store, {
      ...{ session_id: 'mine', thread: 'it', client_instance_id: 'c', owner_session_id: 'agent-s' },
    });
    expect(await again(world, 'c')).toMatchObject({ outcome: 'live_owner', entry: { session_id: 'mine', pid: null } });
  });

  test('nobody of that name: a new one, when the thread is free', async () => {
    const world = await testStore();
    const ended = { status: 'complete', started_at: world.clock.now() } as const;
    await putReservations(world.store, { session_id: 'past', thread: 'it', client_instance_id: 'c', ...ended });
    await putReservations(world.store, { session_id: 'far', thread: 'elsewhere', client_instance_id: 'c' });
    expect(await again(world, 'c')).toMatchObject({ created: true, entry: { session_id: 'agent-made', thread: 'it' } });
  });
});

describe('what an agent looked up', () => {
  const note = (world: TestStore, session_id: string, path: string, scope: string | null = null) =>
    logContextQuery(world.store, { session_id, path, scope, now: world.clock.now() });

  test('★ is kept with path and scope, in order, also when it has ended (H-18, H-57, H-59)', async () => {
    const world = await testStore();
    await putReservations(world.store, { session_id: 'a' });
    expect(await note(world, 'a', 'src/auth/session.rs', 'symbol:validate_token')).toBe(true);
    expect(await listContextQueries(world.store, 'a')).toEqual([
      {
        session_id: 'a',
        seq: 1,
        path: 'src/auth/session.rs',
        scope: 'symbol:validate_token',
        queried_at: expect.any(Number),
      },
    ]);
    await note(world, 'a', 'b');
    await move(world, 'a', 'complete');
    expect((await listContextQueries(world.store, 'a')).map(({ path }) => path)).toEqual(['src/auth/session.rs', 'b']);
  });

  test('★ is nothing, and no failure, of one that has ended or never was (H-58)', async () => {
    const world = await testStore();
    await putReservations(world.store, { session_id: 'done', status: 'complete', started_at: world.clock.now() });
    expect([await note(world, 'done', 'p'), await note(world, 'nobody', 'p')]).toEqual([false, false]);
    expect(await listContextQueries(world.store, 'done')).toEqual([]);
  });
});

test('a record that cannot be read blocks its own thread alone, and is told apart (H-11, CX-42)', async () => {
  const world = await testStore();
  await putReservations(
    world.store,
    { session_id: 'bad', thread: 'bad', attach_precedence_json: '{', ...living() },
    { session_id: 'good', thread: 'good' },
  );
  const listed = await listReservations(world.store, everything, world.clock.now());
  expect(ids(listed.rows)).toEqual(['good']);
  expect(listed.corrupt).toEqual([
    { session_id: 'bad', thread: 'bad', problem: 'attach_precedence_json is not a list of texts' },
  ]);
  expect(await reserveThread(world, 'other')).toMatchObject({ outcome: 'reserved' });
  expect(await reserveThread(world, 'bad')).toMatchObject({ outcome: 'live_owner' });
});
