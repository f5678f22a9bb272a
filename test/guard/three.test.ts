import { expect, test } from 'bun:test';
import { ConflictGuard } from '../../src/guard/conflicts.ts';
import { importActivity } from '../../src/store/activity-import.ts';
import { listIncidents } from '../../src/store/incident-list.ts';
import { row } from '../store/family.ts';
import { resume } from '../store/two-writers.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';

const IDS = ['session-a', 'session-b', 'session-c'];

async function three(): Promise<{
  world: TestStore;
  guard: ConflictGuard;
  wrote: (session_id: string, timestamp: number, ...paths: string[]) => Promise<void>;
}> {
  const world = await testStore();
  for (const id of IDS) await seedSession(world, { id, name: id, repo_root: world.home, working_dir: world.home });
  const wrote = async (session_id: string, timestamp: number, ...paths: string[]) => {
    const file_events = paths.map((path) => ({ path, action: 'modify' as const }));
    await importActivity(world.store, [{ id: `${session_id}-${timestamp}`, session_id, file_events, timestamp }]);
  };
  return { world, guard: new ConflictGuard(world.deps, (work) => void work()), wrote };
}
const pairs = async (world: TestStore) =>
  (await listIncidents(world.store, { repo_root: null, is_open: true }))
    .map(({ first_session_id: a, second_session_id: b }) => `${a.slice(-1)}${b.slice(-1)}`)
    .sort();

test('two that were held for a third are in each other’s way as soon as both go on', async () => {
  const { world, guard, wrote } = await three();
  expect(await guard.look(9)).toEqual([]);
  for (const [i, id] of IDS.entries()) {
    await wrote(id, i + 1, 'f.txt');
    await guard.look(10 + i);
  }
  expect(await pairs(world)).toEqual(['ab', 'ac']);

  await resume(world, 'session-b', true);
  expect(await guard.look(20)).toEqual([]);
  await resume(world, 'session-c', true);
  expect(await guard.look(21)).toEqual([expect.stringContaining('paused later session session-c while session-b')]);
  expect(await pairs(world)).toEqual(['ab', 'ac', 'bc']);
  expect([(await row(world, 'session-b')).state, (await row(world, 'session-c')).state]).toEqual(['queued', 'parked']);

  // Somebody insists once more: it is known, and nobody is held for it again.
  await resume(world, 'session-c', true);
  expect(await guard.look(22)).toEqual([]);
  expect((await row(world, 'session-c')).state).toBe('queued');
});

test('also for what one of them wrote long before', async () => {
  const { world, guard, wrote } = await three();
  expect(await guard.look(9)).toEqual([]);
  await wrote('session-a', 1, 'held.txt');
  await wrote('session-b', 2, 'held.txt');
  await wrote('session-b', 3, 'old.txt', ...Array.from({ length: 600 }, (_, i) => `many/${i}`));
  await guard.look(10);
  await wrote('session-c', 4, 'old.txt');
  expect(await guard.look(11)).toEqual([]);
  await resume(world, 'session-b', true);
  expect(await guard.look(12)).toEqual([expect.stringContaining('overlap on old.txt')]);
});
