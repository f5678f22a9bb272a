import { expect, test } from 'bun:test';
import { detachWorktree, reattachWorktree, whileEnded, worktreeUsers } from '../../src/store/clean.ts';
import { stopSession } from '../../src/store/control.ts';
import { getSession } from '../../src/store/session.ts';
import { endTurn, seedSession, takeTurn, testStore } from '../support/store.ts';

test('an act on what a session left behind runs only while it has ended and no turn of it is open (I22)', async () => {
  const world = await testStore();
  const row = await seedSession(world, {});
  let acts = 0;
  const act = () =>
    whileEnded(world.store, row.id, () => {
      acts += 1;
    });
  expect(await act()).toBe(false);
  const turn = await takeTurn(world, row.id);
  await stopSession(world.store, { session_id: row.id, actor: 'cli', reason: 'test', now: world.clock.now() });
  expect(await act()).toBe(false);
  await endTurn(world, turn, { ok: false });
  expect(await act()).toBe(true);
  expect(acts).toBe(1);
});

test('a worktree is taken from all sessions that have it or from none, and given back to those at rest (E-148, I22)', async () => {
  const world = await testStore();
  const path = '/trees/a';
  const place = { role: 'solo', worktree_path: path, working_dir: path };
  const [one, two] = [
    await seedSession(world, { ...place, name: 'one' }),
    await seedSession(world, { ...place, name: 'two' }),
  ];
  const ids = [one.id, two.id];
  await endTurn(world, await takeTurn(world, one.id));
  expect(await detachWorktree(world.store, { path, ids, now: 1 })).toBeNull();
  expect(await worktreeUsers(world.store, path, ids)).toEqual([{ id: two.id, name: 'two', state: 'queued' }]);
  await endTurn(world, await takeTurn(world, two.id));
  expect(await detachWorktree(world.store, { path, ids: [one.id], now: 1 })).toBeNull();
  const neighbour = await seedSession(world, { name: 'neighbour', working_dir: '/trees/ab' });
  const guest = await seedSession(world, { name: 'guest', working_dir: '/trees/a/src' });
  expect((await worktreeUsers(world.store, path, ids)).map((user) => user.name)).toEqual(['guest']);
  await stopSession(world.store, { session_id: guest.id, actor: 'cli', reason: 'test', now: world.clock.now() });
  const before = await getSession(world.store, one.id);
  expect((await detachWorktree(world.store, { path, ids, now: 1 }))?.sort()).toEqual(ids.toSorted());
  const after = await getSession(world.store, one.id);
  expect(after).toEqual({ ...(before as NonNullable<typeof before>), worktree_path: null, working_dir: '/farm' });
  await reattachWorktree(world.store, { path, working_dirs: { [one.id]: `${path}/sub`, [neighbour.id]: path } });
  expect(await getSession(world.store, one.id)).toMatchObject({ worktree_path: path, working_dir: `${path}/sub` });
  await reattachWorktree(world.store, { path: '/trees/b', working_dirs: { [one.id]: '/trees/b' } });
  expect(await getSession(world.store, one.id)).toMatchObject({ worktree_path: path });
  expect(await getSession(world.store, neighbour.id)).toMatchObject({ worktree_path: null });
});
