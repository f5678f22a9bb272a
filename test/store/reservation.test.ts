import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { homePaths } from '../../src/model/home.ts';
import type { RESERVATION_STATUSES } from '../../src/model/reservation.ts';
import { ownerProbe } from '../../src/session/owner-probe.ts';
import { openStore } from '../../src/store/open.ts';
import {
  moveReservation,
  type ReservationPatch,
  reapDead,
  tryReserve,
  updateReservation,
} from '../../src/store/reservation.ts';
import { listReservations } from '../../src/store/reservation-list.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import {
  allReservations,
  DAY_MS,
  DEAD,
  DEAD_PID,
  draft,
  living,
  putReservations,
  REPO,
  reservationRow,
  reserveThread,
  rowOf,
} from '../support/reservation.ts';
import { type TestStore, testStore } from '../support/store.ts';

const may = () => undefined;
const ids = (rows: readonly { session_id: string }[]) => rows.map((row) => row.session_id);
const everything = { repo_root: REPO, active_only: false };

function reap(world: TestStore, thread?: string) {
  const now = world.clock.now();
  return reapDead(world.store, { repo_root: REPO, thread, probe: ownerProbe(now), now });
}

function move(
  world: TestStore,
  session_id: string,
  to: (typeof RESERVATION_STATUSES)[number],
  mover = 'owner' as const,
) {
  return moveReservation(world.store, { session_id, to, mover, may, now: world.clock.now() });
}

describe('making one', () => {
  test('one row, by its id; two repositories have threads of the same name (H-02)', async () => {
    const world = await testStore();
    const here = await reserveThread(world, 'main');
    const there = await reserveThread(world, 'main', { repo_root: '/other' });
    expect([here.outcome, there.outcome]).toEqual(['reserved', 'reserved']);
    expect(ids((await listReservations(world.store, everything, Date.now())).rows)).toEqual([here.entry.session_id]);
    expect(await allReservations(world.store)).toHaveLength(2);
  });

  test('★ an id that exists is generated again, its row stays (H-05)', async () => {
    const world = await testStore();
    const [before] = await putReservations(world.store, { session_id: 'agent-existing', thread: 'other' });
    const made = await reserveThread(world, 'main', { ids: ['agent-existing', 'agent-new'] });
    expect(made.entry.session_id).toBe('agent-new');
    expect(await rowOf(world.store, 'agent-existing')).toEqual(before ?? null);
    expect(await rowOf(world.store, 'agent-new')).not.toBeNull();
  });

  test('the builder sees only free ids; what it throws undoes everything (H-06)', async () => {
    const world = await testStore();
    await putReservations(world.store, { session_id: 'agent-a', thread: 'busy', ...DEAD });
    await putReservations(world.store, { session_id: 'agent-b', thread: 'other' });
    const before = await allReservations(world.store);
    const asked: string[] = [];
    const build = (id: string) => {
      asked.push(id);
      throw new Error('the builder failed');
    };
    const given = ['agent-a', 'agent-b', 'agent-c'];
    const input = {
      repo_root: REPO,
      thread: 'busy',
      probe: ownerProbe(0),
      new_id: () => given.shift() ?? '',
      build,
      now: 5,
    };
    await expect(tryReserve(world.store, input)).rejects.toThrow('the builder failed');
    expect(asked).toEqual(['agent-c']);
    // The dead owner, who had to go first, is there again.
    expect(await allReservations(world.store)).toEqual(before);
  });

  test('a builder that answers with another id is refused (H-06, CX-41)', async () => {
    const world = await testStore();
    const input = { repo_root: REPO, thread: 'main', probe: ownerProbe(0), new_id: () => 'agent-a', now: 5 };
    await expect(tryReserve(world.store, { ...input, build: () => draft('agent-b') })).rejects.toMatchObject({
      code: 'id_mismatch',
    });
    await expect(tryReserve(world.store, { ...input, new_id: () => 'Agent/..', build: draft })).rejects.toMatchObject({
      code: 'session_id_invalid',
    });
    expect(await allReservations(world.store)).toEqual([]);
  });

  test('while somebody holds the database the refusal is typed, and nothing is written (H-07)', async () => {
    const world = await testStore();
    const gate = openWriteGate(homePaths.gate(world.home));
    const path = homePaths.database(world.home);
    const store = await openStore({
      ...{ path, durability: 'normal', clock: world.clock, gate, wait_ms: 30, busy_timeout_ms: 10 },
    });
    const other = new Database(path);
    other.run('BEGIN IMMEDIATE');
    await expect(reserveThread({ store, clock: world.clock }, 'main')).rejects.toMatchObject({
      ...{ code: 'store_busy', details: { preserved: 'nothing was written' } },
    });
    other.run('ROLLBACK');
    expect(await allReservations(world.store)).toEqual([]);
    for (const each of [other, store, gate]) each.close();
  });

  test('five values are enough; what is not known is null and not zero (H-12, H-17)', async () => {
    const { store } = await testStore();
    await store.write((tx) =>
      tx.run(`INSERT INTO reservations (session_id, repo_root, thread, base_short, started_at, status)
              VALUES ('agent-old', '/farm', 'main', 'abc', 1, 'active')`),
    );
    const row = await rowOf(store, 'agent-old');
    expect(row).toMatchObject({ attach_precedence_json: '[]', pid: null, input_tokens: null, cost_micros: null });
    expect(Object.keys(row ?? {}).sort()).toEqual(Object.keys(reservationRow()).sort());
  });

  test('a foreign writer cannot make a second owner either (H-36, I6)', async () => {
    const { store } = await testStore();
    await putReservations(store, { thread: 'main' });
    await expect(putReservations(store, { thread: 'main' })).rejects.toThrow('UNIQUE');
    for (const bad of [
      { status: 'active', completed_at: 5 },
      { status: 'complete', completed_at: null },
      { status: 'lost' as 'active', completed_at: 5 },
    ] as const)
      await expect(putReservations(store, { thread: 'x', ...bad })).rejects.toThrow('CHECK');
  });
});

describe('the owner of a thread', () => {
  test('★ one that is dead is cleared away (H-38)', async () => {
    const world = await testStore();
    const dead = { session_id: 'agent-dead', thread: 'feature/race', pid: DEAD_PID, boot_id: 'not-the-current-boot' };
    const [before] = await putReservations(world.store, dead);
    const made = await reserveThread(world, 'feature/race');
    expect(made).toMatchObject({ outcome: 'reserved', created: true, reaped: 1 });
    expect(made.entry.session_id).not.toBe('agent-dead');
    const after = await rowOf(world.store, 'agent-dead');
    // Nothing else of it changes (H-32).
    expect(after).toEqual({
      ...(before as NonNullable<typeof after>),
      status: 'abandoned',
      completed_at: expect.any(Number),
    });
  });

  test('★ one that lives blocks and stays as it is: an outcome with the row, no exception (H-37, H-39)', async () => {
    const world = await testStore();
    const [before] = await putReservations(world.store, {
      session_id: 'agent-alive',
      thread: 'feature/busy',
      ...living(),
    });
    const found = await reserveThread(world, 'feature/busy');
    expect(found).toEqual({ outcome: 'live_owner', entry: before as never, reaped: 0 });
    expect(await allReservations(world.store)).toEqual([before as never]);
  });

  test('one of whom nobody knows counts as living (H-34, H-40)', async () => {
    const world = await testStore();
    await putReservations(world.store, { session_id: 'agent-quiet', thread: 'it' });
    expect(await reserveThread(world, 'it')).toMatchObject({
      outcome: 'live_owner',
      entry: { session_id: 'agent-quiet' },
    });
    expect(await reap(world)).toBe(0);
  });

  test('★ one that was given up never blocks (H-41)', async () => {
    const world = await testStore();
    const thread = 'feature/leak-repro';
    const first = await reserveThread(world, thread);
    expect(await move(world, first.entry.session_id, 'abandoned')).toMatchObject({ ok: true, changed: true });
    expect(await reserveThread(world, thread)).toMatchObject({ outcome: 'reserved', reaped: 0 });
    const active = (await allReservations(world.store)).filter(
      (row) => row.status === 'active' && row.thread === thread,
    );
    expect(active).toHaveLength(1);
  });

  test('other threads do not count, and their dead stay (H-43)', async () => {
    const world = await testStore();
    await putReservations(
      world.store,
      { session_id: 'a', thread: 'one', ...DEAD },
      { session_id: 'b', thread: 'two', ...living() },
    );
    expect(await reserveThread(world, 'three')).toMatchObject({ outcome: 'reserved', reaped: 0 });
    expect([(await rowOf(world.store, 'a'))?.status, (await rowOf(world.store, 'b'))?.status]).toEqual([
      'active',
      'active',
    ]);
  });

  test('reserving sweeps what has expired, of any thread (H-36)', async () => {
    const world = await testStore();
    const now = world.clock.now();
    const old = { status: 'complete', completed_at: now - 8 * DAY_MS } as const;
    await putReservations(world.store, { session_id: 'old', thread: 'far', ...old });
    await reserveThread(world, 'near');
    expect(await rowOf(world.store, 'old')).toBeNull();
  });
});

describe('clearing the dead away', () => {
  test('★ of one thread, then of all; again it finds nobody (H-33, H-35)', async () => {
    const world = await testStore();
    const dead = { pid: DEAD_PID, boot_id: 'stale' };
    await putReservations(
      world.store,
      { session_id: 'a', thread: 'feature/a', ...dead },
      { session_id: 'b', thread: 'feature/b', ...dead },
    );
    const statuses = async () => (await allReservations(world.store)).map((row) => row.status);
    expect([await reap(world, 'feature/a'), await statuses()]).toEqual([1, ['abandoned', 'active']]);
    expect([await reap(world), await statuses()]).toEqual([1, ['abandoned', 'abandoned']]);
    expect(await reap(world)).toBe(0);
  });

  test('only in its own repository', async () => {
    const world = await testStore();
    await putReservations(world.store, { session_id: 'a', repo_root: '/other', ...DEAD });
    expect(await reap(world)).toBe(0);
    const of = { repo_root: null, probe: ownerProbe(1), now: 1 };
    expect(await reapDead(world.store, of)).toBe(1);
  });

  test.each([
    ['a heartbeat', { heartbeat_at: 9 }],
    ['another process', { pid: 4 }],
    ['another process with the same number', { pid_start_time: '4' }],
    ['another boot', { boot_id: 'b' }],
  ])('%s since it was looked at saves it (I7, H-32)', async (_what, change: ReservationPatch) => {
    const world = await testStore();
    await putReservations(world.store, { session_id: 'a', ...DEAD, heartbeat_at: 3 });
    const second = await world.second();
    const renewed = updateReservation(second, {
      session_id: 'a',
      active_only: true,
      may,
      update: () => change,
      now: 5,
    });
    // The renewal is committed between the look and the write.
    const probe = () => 'dead' as const;
    const isRenewed = async () => (await renewed) !== null;
    expect(await isRenewed()).toBe(true);
    const row = await rowOf(world.store, 'a');
    const stale = { ...(row as NonNullable<typeof row>), heartbeat_at: 3, ...DEAD, pid_start_time: null };
    const read = world.store.read.bind(world.store);
    world.store.read = (async () => [stale]) as typeof world.store.read;
    expect(await reapDead(world.store, { repo_root: REPO, probe, now: 7 })).toBe(0);
    world.store.read = read;
    expect(await rowOf(world.store, 'a')).toEqual(row);
  });
});
