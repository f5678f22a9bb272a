import { expect, test } from 'bun:test';
import { stopSession } from '../../src/store/control.ts';
import { listSessions } from '../../src/store/session.ts';
import { night } from './desk.ts';
import { add, desk, request, run, START, team } from './requests.ts';

test('nothing overtakes a more urgent one for the same lead that waits for room (E-065)', async () => {
  const world = await night(START);
  const { lead, delegate } = await team(world, 1);
  const busy = await delegate('busy-worker', 'queued', false);
  const supervisor = await desk(world);
  const urgent = await add(world, 'urgent', { target: lead, priority: 'critical' });
  await supervisor.look();
  await stopSession(world.at.deps.store, { session_id: busy.id, actor: 'cli', reason: 'x', now: world.now });
  const low = await add(world, 'low', { target: lead, priority: 'low' });
  await add(world, 'of nobody', { priority: 'low' });
  await supervisor.look();
  const states = async () => [(await request(world, urgent))?.state, (await request(world, low))?.state];
  expect(await states()).toEqual(['pending', 'pending']);
  expect((await listSessions(world.at.deps.store, {})).map(({ task }) => task)).toContain('of nobody');
  world.now = supervisor.desk.wake_at ?? 0;
  await supervisor.look();
  expect(await states()).toEqual(['dispatched', 'pending']);
});

test('one that is more urgent than what waits for room is tried at once, and in one pass each lead once', async () => {
  const world = await night(START);
  const { lead, delegate } = await team(world, 1);
  const busy = await delegate('busy-worker', 'queued', false);
  for (const task of ['one', 'two']) await add(world, task, { target: lead });
  expect(await run(world)).toMatchObject([{ task: 'one', action: { type: 'deferred_saturated' } }]);
  const supervisor = await desk(world);
  await supervisor.look();
  await stopSession(world.at.deps.store, { session_id: busy.id, actor: 'cli', reason: 'x', now: world.now });
  const urgent = await add(world, 'urgent', { target: lead, priority: 'critical' });
  await supervisor.look();
  expect((await request(world, urgent))?.state).toBe('dispatched');
});
