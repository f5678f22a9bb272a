import { expect, test } from 'bun:test';
import { addDispatch } from '../../src/plan/dispatch.ts';
import { advancePlan } from '../../src/plan/run.ts';
import { draftSchedule } from '../../src/plan/schedule.ts';
import { haltAll, liftHalt } from '../../src/store/halt.ts';
import { getPlan } from '../../src/store/plan.ts';
import { planView } from '../../src/store/plan-view.ts';
import { insertSchedule, listScheduleRuns } from '../../src/store/schedule.ts';
import { listSessions } from '../../src/store/session.ts';
import { DispatchDesk } from '../../src/supervisor/dispatches.ts';
import { PlanDesk } from '../../src/supervisor/plans.ts';
import { ScheduleDesk } from '../../src/supervisor/schedules.ts';
import { storePlan } from '../support/plan.ts';
import { type Night, night } from './desk.ts';

const MINUTE = 60_000;
const EVENING = Date.parse('2026-05-05T22:00:00Z');

const sessions = async (world: Night) =>
  (await listSessions(world.at.deps.store, {})).map(({ task, state }) => [task.slice(0, 9), state]).sort();
const halt = (world: Night) => haltAll(world.at.deps.store, { by: 'operator', reason: 'runaway', now: world.now });
const lift = (world: Night) => liftHalt(world.at.deps.store, { by: 'operator', now: world.now });

test('a schedule that is due in a halt fires when it is lifted, as its policy says and with the reason (O-77, E-060)', async () => {
  const world = await night(EVENING);
  const { deps } = world.at;
  const add = async (name: string, catch_up: 'none' | 'latest') =>
    insertSchedule(
      deps.store,
      await draftSchedule(
        { ...deps, clock: { ...deps.clock, now: () => world.now } },
        {
          ...{ cron: '*/15 * * * *', timezone: 'UTC', overlap: 'skip', catch_up, catch_up_max: 3, name },
          ...{ cwd: world.at.repo, target: { task: `do ${name}` } },
        },
      ),
      world.now,
    );
  const [none, latest] = [await add('none', 'none'), await add('latest', 'latest')];
  const { look, begun } = await world.supervisor((options) => new ScheduleDesk(options));
  await look();
  await halt(world);
  world.now = EVENING + 30 * MINUTE;
  for (let i = 0; i < 3; i++) await look();
  expect([await sessions(world), begun()]).toEqual([[], 0]);
  world.now = EVENING + 30 * MINUTE + 40_000;
  await lift(world);
  await look();
  expect(await sessions(world)).toEqual([['do latest', 'queued']]);
  const told = async (id: string) =>
    (await listScheduleRuns(deps.store, id)).map(({ state, times, reason }) => [state, times, reason]);
  expect(await told(none.id)).toEqual([['missed', 2, 'everything was halted at that time']]);
  expect(await told(latest.id)).toEqual([
    ['fired', 1, 'it was due while everything was halted'],
    ['missed', 1, 'passed over: a later one makes up for it'],
  ]);
});

test('a request waits while everything is halted, also one that comes then, and nobody spins (O-77, E-065)', async () => {
  const world = await night(EVENING);
  const wishes = { cwd: world.at.repo, target: null, priority: 'normal', source: 'cli', requester: null } as const;
  await addDispatch(world.at.deps, { ...wishes, task: 'the first' });
  const { look, begun } = await world.supervisor((options) => new DispatchDesk(options));
  await halt(world);
  await look();
  await addDispatch(world.at.deps, { ...wishes, task: 'the other' });
  await look();
  expect([await sessions(world), begun()]).toEqual([[], 0]);
  await lift(world);
  await look();
  expect(await sessions(world)).toEqual([
    ['the first', 'queued'],
    ['the other', 'queued'],
  ]);
});

test('a plan whose sessions are stopped by a halt loses no step by it, whoever looks (O-77, C-12)', async () => {
  const world = await night(EVENING);
  const { store } = world.at.deps;
  const steps = ['a', 'b', 'c'].map((id) => `  - {id: ${id}, task: do ${id}, worktree: false}`);
  const text = ['name: night', 'concurrency: 1', 'on_failure: stop', 'steps:', ...steps].join('\n');
  const { id } = await storePlan(store, text, world.now);
  const { look, deps } = await world.supervisor((options) => new PlanDesk(options));
  store.write((tx) => tx.run('UPDATE plans SET working_dir = :dir, repo_root = :dir', { dir: world.at.repo }));
  await look();
  expect(await sessions(world)).toEqual([['do a', 'queued']]);
  await halt(world);
  for (let i = 0; i < 3; i++) {
    world.now += MINUTE;
    await look();
  }
  await advancePlan(deps, id, world.now);
  const states = async () => (await planView(store, id))?.steps.map(({ state }) => state);
  expect([await states(), (await getPlan(store, id))?.state]).toEqual([['running', 'pending', 'pending'], 'paused']);
  expect(await sessions(world)).toEqual([['do a', 'stopped']]);
  // Nobody has put the session back to work: then it counts as what it is.
  await lift(world);
  world.now += MINUTE;
  await look();
  expect((await states())?.[0]).toBe('failed');
});
