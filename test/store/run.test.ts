import { expect, test } from 'bun:test';
import { newId } from '../../src/model/id.ts';
import { openStore } from '../../src/store/open.ts';
import { activeRun, completeRun, ensureRun as ensureRunIn, findRun, listRuns } from '../../src/store/run.ts';
import type { Store } from '../../src/store/store.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { endTurn, seedSession, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const ensureRun = (store: Store, wanted: string, now: number, new_id?: () => string) =>
  store.write((tx) => ensureRunIn(tx, wanted, now, new_id));

/** Starts a run under an id of the test's choice. */
const createRun = (store: Store, run: { id: string; name: string; now: number }) =>
  ensureRun(store, run.name, run.now, () => run.id);

const refused = (code: string) => expect.objectContaining({ code });

test('a run has id, name, start, status and a derived count; a taken id is not given twice (O-19)', async () => {
  const { store } = await testStore();
  await createRun(store, { id: 'run-a', name: 'nightly', now: 1_000 });
  const run = {
    id: 'run-a',
    name: 'nightly',
    status: 'active' as const,
    started_at: 1_000,
    completed_at: null,
    notified_at: null,
    agent_count: 0,
    live_count: 0,
    coordinator_session_id: null,
    coordinator_name: null,
  };
  expect(await findRun(store, 'run-a')).toEqual(run);
  const ids = ['run-a', 'run-a', 'run-b'];
  expect(await ensureRun(store, 'other', 2_000, () => ids.shift() ?? 'run-z')).toBe('run-b');
  expect(await findRun(store, 'run-a')).toEqual(run);
});

test('the count is that of its sessions in every read, the coordinator included, and nobody increments it (O-20, O-21)', async () => {
  const world = await testStore();
  const { store } = world;
  await createRun(store, { id: 'run-a', name: 'nightly', now: 1_000 });
  const chief = await seedSession(world, { run_id: 'run-a', role: 'coordinator', name: 'chief' });
  const worker = await seedSession(world, { run_id: 'run-a', name: 'worker' });
  await seedSession(world, { run_id: 'run-b', name: 'stranger' });
  await endTurn(world, await takeTurn(world, worker.id));
  const expected = { agent_count: 2, live_count: 1, coordinator_session_id: chief.id, coordinator_name: 'chief' };
  expect(await findRun(store, 'run-a')).toMatchObject(expected);
  expect(await activeRun(store)).toMatchObject(expected);
  expect(await activeRun(store, 'chief')).toMatchObject(expected);
  expect(await listRuns(store)).toEqual([expect.objectContaining(expected)]);
});

test('runs work on a database in which nothing else was ever stored (O-22)', async () => {
  const gate = { tryEnter: () => () => undefined };
  const store = await openStore({ path: `${tempDir()}/drover.db`, durability: 'normal', clock: systemClock, gate });
  await createRun(store, { id: 'run-a', name: 'first', now: 1 });
  expect(await listRuns(store)).toHaveLength(1);
  store.close();
});

test('the active run is the one started last, and per coordinator (O-23)', async () => {
  const world = await testStore();
  const { store } = world;
  expect(await activeRun(store)).toBeNull();
  for (const [id, now] of [
    ['run-a', 3],
    ['run-b', 2],
    ['run-c', 9],
  ] as const)
    await createRun(store, { id, name: id, now });
  await completeRun(store, { id: 'run-c', status: 'completed', now: 10 });
  await seedSession(world, { run_id: 'run-b', role: 'coordinator', name: 'chief' });
  expect((await activeRun(store))?.id).toBe('run-a');
  expect((await activeRun(store, 'chief'))?.id).toBe('run-b');
  expect(await activeRun(store, 'nobody')).toBeNull();
});

test('runs are listed newest first, by status and limit (O-24)', async () => {
  const { store } = await testStore();
  for (const [id, now] of [
    ['run-a', 1],
    ['run-c', 3],
    ['run-b', 2],
  ] as const)
    await createRun(store, { id, name: id, now });
  await completeRun(store, { id: 'run-b', status: 'failed', now: 4 });
  const ids = async (filter: Parameters<typeof listRuns>[1]) => (await listRuns(store, filter)).map((run) => run.id);
  expect(await ids({})).toEqual(['run-c', 'run-b', 'run-a']);
  expect(await ids({ limit: 2 })).toEqual(['run-c', 'run-b']);
  expect(await ids({ status: 'active' })).toEqual(['run-c', 'run-a']);
  expect(await ids({ status: 'failed' })).toEqual(['run-b']);
});

test('completing sets status and time once; an unknown id changes nothing (O-25)', async () => {
  const { store } = await testStore();
  await createRun(store, { id: 'run-a', name: 'nightly', now: 1 });
  expect(await completeRun(store, { id: 'run-nobody', status: 'completed', now: 5 })).toBeNull();
  expect(await completeRun(store, { id: 'run-a', status: 'failed', now: 5 })).toMatchObject({
    status: 'failed',
    completed_at: 5,
  });
  expect(await completeRun(store, { id: 'run-a', status: 'completed', now: 9 })).toBeNull();
  expect(await findRun(store, 'run-a')).toMatchObject({ status: 'failed', completed_at: 5 });
});

test('a wanted run is found by id or active name, or started; an ended one is not reopened', async () => {
  const world = await testStore();
  const { store } = world;
  const id = await ensureRun(store, 'nightly', 1);
  expect(await ensureRun(store, 'nightly', 2)).toBe(id);
  expect(await ensureRun(store, id, 3)).toBe(id);
  expect(await findRun(store, id)).toMatchObject({ name: 'nightly', started_at: 1 });
  await completeRun(store, { id, status: 'completed', now: 4 });
  await expect(ensureRun(store, id, 5)).rejects.toEqual(refused('run_ended'));
  await expect(ensureRun(store, newId('run'), 5)).rejects.toEqual(refused('run_not_found'));
  for (const name of ['', 'Nightly Build', 'latest', '../up', '-x'])
    await expect(ensureRun(store, name, 5)).rejects.toEqual(refused('run_name_invalid'));
  const again = await ensureRun(store, 'nightly', 6);
  expect(again).not.toBe(id);
  expect(await listRuns(store)).toHaveLength(2);
});

test('many callers of one name at once get one run', async () => {
  const world = await testStore();
  const stores = await Promise.all([1, 2, 3, 4].map(() => world.second()));
  const ids = await Promise.all(stores.flatMap((store) => [1, 2, 3].map((now) => ensureRun(store, 'nightly', now))));
  expect(new Set(ids).size).toBe(1);
  expect(await listRuns(world.store)).toHaveLength(1);
});

test('a run is found by id, unique prefix, name (the active one first) and latest', async () => {
  const { store } = await testStore();
  await createRun(store, { id: 'run-aaaab', name: 'nightly', now: 5 });
  await completeRun(store, { id: 'run-aaaab', status: 'completed', now: 6 });
  await createRun(store, { id: 'run-aaaac', name: 'nightly', now: 1 });
  await createRun(store, { id: 'run-bbbbb', name: 'weekly', now: 9 });
  const found = async (wanted: string) => (await findRun(store, wanted)).id;
  expect(await found('nightly')).toBe('run-aaaac');
  expect(await found('run-aaaab')).toBe('run-aaaab');
  expect(await found('bbbb')).toBe('run-bbbbb');
  expect(await found('latest')).toBe('run-bbbbb');
  await expect(findRun(store, 'aaaa')).rejects.toEqual(refused('run_ambiguous'));
  await expect(findRun(store, 'nothing')).rejects.toEqual(refused('run_not_found'));
});
