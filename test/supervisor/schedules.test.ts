import { describe, expect, test } from 'bun:test';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SYSTEM } from '../../src/model/mail.ts';
import type { ScheduleRow } from '../../src/model/schedule.ts';
import { draftSchedule, type ScheduleRequest } from '../../src/plan/schedule.ts';
import { stopSession } from '../../src/store/control.ts';
import { listPlans } from '../../src/store/plan.ts';
import { startStep } from '../../src/store/plan-step.ts';
import { planView } from '../../src/store/plan-view.ts';
import {
  findSchedule,
  insertSchedule,
  listScheduleRuns,
  removeSchedule,
  setScheduleEnabled,
} from '../../src/store/schedule.ts';
import { getSession, listSessions } from '../../src/store/session.ts';
import type { Store } from '../../src/store/store.ts';
import { ScheduleDesk } from '../../src/supervisor/schedules.ts';
import { slingOf } from '../support/plan.ts';
import { type Night, night } from './desk.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const EVENING = Date.parse('2026-05-05T22:00:00Z');

async function add(world: Night, more: Partial<ScheduleRequest> = {}): Promise<ScheduleRow> {
  const { deps } = world.at;
  const clock = { ...deps.clock, now: () => world.now };
  const draft = await draftSchedule(
    { ...deps, clock },
    {
      ...{ cron: '*/15 * * * *', timezone: 'UTC', overlap: 'skip', catch_up: 'latest', catch_up_max: 3 },
      ...{ cwd: world.at.repo, target: { task: 'Check backlog health' }, ...more },
    },
  );
  return insertSchedule(deps.store, draft, world.now);
}
const desk = (world: Night) => world.supervisor((options) => new ScheduleDesk(options));
const sessions = (world: Night) => listSessions(world.at.deps.store, {});
const runs = async (world: Night, { id }: ScheduleRow) =>
  (await listScheduleRuns(world.at.deps.store, id))
    .map(({ state, due_at, times, reason }) => [state, (due_at - EVENING) / MINUTE, times, reason])
    .reverse();
const row = (world: Night, { id }: ScheduleRow) => findSchedule(world.at.deps.store, id);

/** Counts what is asked of a store from now on. */
function counted(store: Store): () => number {
  let asked = 0;
  const [read, write] = [store.read.bind(store), store.write.bind(store)];
  store.read = (work) => {
    asked += 1;
    return read(work);
  };
  store.write = (work) => {
    asked += 1;
    return write(work);
  };
  return () => asked;
}

test('a due time starts one session with what the schedule says, and the next one is waited for (E-058)', async () => {
  const world = await night(EVENING);
  const schedule = await add(world, { project: 'ecc-core', group: 'scheduled maintenance' });
  const { desk: desk1, look } = await desk(world);
  await look();
  expect([await sessions(world), desk1.wake_at]).toEqual([[], EVENING + 15 * MINUTE]);
  world.now = EVENING + 16 * MINUTE;
  await look();
  expect(await sessions(world)).toMatchObject([
    {
      ...{ state: 'queued', task: 'Check backlog health', project: 'ecc-core', task_group: 'scheduled maintenance' },
      ...{ harness: 'rehearsal', working_dir: world.at.repo, parent_id: null },
    },
  ]);
  expect(await row(world, schedule)).toMatchObject({ last_run_at: world.now, next_run_at: EVENING + 30 * MINUTE });
  await look();
  expect([(await sessions(world)).length, desk1.wake_at]).toEqual([1, EVENING + 30 * MINUTE]);
});

test('while nothing is due and nobody writes, nothing is asked; what another process adds is seen (ARCHITECTURE §1)', async () => {
  const world = await night(EVENING);
  await add(world);
  const supervisor = await desk(world);
  await supervisor.look();
  const asked = counted(supervisor.deps.store);
  for (let i = 0; i < 100; i++) {
    world.now += MINUTE / 10;
    await supervisor.look();
  }
  expect([asked(), supervisor.begun()]).toEqual([0, 0]);
  await add(world, { cron: '11 22 * * *', name: 'sooner' });
  await supervisor.look();
  expect(supervisor.desk.wake_at).toBe(EVENING + 11 * MINUTE);
});

test('two supervisors that look at the same moment start it once (I9)', async () => {
  const world = await night(EVENING);
  const schedule = await add(world);
  const both = [await desk(world), await desk(world), await desk(world)];
  for (const minutes of [16, 31, 46]) {
    world.now = EVENING + minutes * MINUTE;
    await Promise.all(both.map(({ look }) => look()));
    for (const { id } of await sessions(world)) {
      const end = { session_id: id, actor: 'cli' as const, reason: 'x', now: world.now };
      await stopSession(world.at.deps.store, end);
    }
  }
  expect(await sessions(world)).toHaveLength(3);
  expect((await runs(world, schedule)).map(([state, at]) => [state, at])).toEqual([
    ['fired', 15],
    ['fired', 30],
    ['fired', 45],
  ]);
});

test('a supervisor that dies before or behind the one write is made up for by the next: once (I9, E-060)', async () => {
  const world = await night(EVENING);
  const schedule = await add(world);
  world.now = EVENING + 16 * MINUTE;
  for (const when of ['before', 'behind'] as const) {
    const dying = await desk(world);
    const { store } = dying.deps;
    const write = store.write.bind(store);
    store.write = async (work) => {
      if (when === 'behind') await write(work);
      throw new Error('killed');
    };
    await expect(dying.look()).rejects.toThrow('killed');
  }
  expect(await sessions(world)).toHaveLength(1);
  await (await desk(world)).look();
  expect(await sessions(world)).toHaveLength(1);
  expect(await runs(world, schedule)).toEqual([['fired', 15, 1, null]]);
});

describe('a clock that jumps', () => {
  test('forward by 8 hours: one run makes up for all, and the rest is one row (E-059)', async () => {
    const world = await night(EVENING);
    const schedule = await add(world);
    const { look } = await desk(world);
    await look();
    world.now = EVENING + 8 * HOUR + MINUTE;
    await look();
    expect(await sessions(world)).toHaveLength(1);
    expect(await runs(world, schedule)).toEqual([
      ['missed', 15, 31, 'passed over: a later one makes up for it'],
      ['fired', 480, 1, null],
    ]);
  });
  test('forward by 8 hours, and nothing is to be made up for', async () => {
    const world = await night(EVENING);
    const schedule = await add(world, { catch_up: 'none' });
    world.now = EVENING + 8 * HOUR + 5 * MINUTE;
    await (await desk(world)).look();
    expect(await sessions(world)).toEqual([]);
    expect(await runs(world, schedule)).toEqual([['missed', 15, 32, 'nobody was there at that time']]);
  });
  test('back: no time is due twice', async () => {
    const world = await night(EVENING);
    const schedule = await add(world);
    const { look } = await desk(world);
    for (const minutes of [16, 5, 14, 16, 29]) {
      world.now = EVENING + minutes * MINUTE;
      await look();
      await (await desk(world)).look();
    }
    expect(await runs(world, schedule)).toEqual([['fired', 15, 1, null]]);
  });
});

describe('when the one before has not ended', () => {
  const through = async (overlap: ScheduleRow['overlap']) => {
    const world = await night(EVENING);
    const schedule = await add(world, { overlap });
    const supervisor = await desk(world);
    for (const minutes of [15, 30, 45]) {
      world.now = EVENING + minutes * MINUTE;
      await supervisor.look();
    }
    return { world, schedule, supervisor };
  };
  test('skip: it is passed over with its reason', async () => {
    const { world, schedule } = await through('skip');
    expect(await runs(world, schedule)).toEqual([
      ['fired', 15, 1, null],
      ['skipped', 30, 1, 'the one before has not ended'],
      ['skipped', 45, 1, 'the one before has not ended'],
    ]);
  });
  test('queue: one waits, and goes as soon as the one before has ended, by whatever connection that is written', async () => {
    const { world, schedule, supervisor } = await through('queue');
    const [first] = await sessions(world);
    world.now += MINUTE;
    await supervisor.look();
    expect(await sessions(world)).toHaveLength(1);
    const end = { session_id: first?.id ?? '', actor: 'cli' as const, reason: 'x', now: world.now };
    // As the supervisor's own settle does it: on the connection that the desk looks through.
    await stopSession(supervisor.deps.store, end);
    await supervisor.look();
    expect((await runs(world, schedule)).map(([state, at, , reason]) => [state, at, reason])).toEqual([
      ['fired', 15, null],
      ['fired', 30, 'it waited'],
      ['skipped', 45, 'others wait already'],
    ]);
  });
  test('replace: what was started before is stopped first, and says why', async () => {
    const { world } = await through('replace');
    const all = (await sessions(world)).map(({ state, end_reason }) => [state, end_reason]);
    const reason = 'replaced by the next run of the schedule solo-check-backlog-health';
    expect(all.sort()).toEqual([
      ['queued', null],
      ['stopped', reason],
      ['stopped', reason],
    ]);
  });
  test('replace stops nothing when the new one cannot start', async () => {
    const { world, schedule, supervisor } = await through('replace');
    const before = (await sessions(world)).filter(({ state }) => state === 'queued');
    rmSync(world.at.repo, { recursive: true });
    world.now += 15 * MINUTE;
    await supervisor.look();
    expect((await sessions(world)).filter(({ state }) => state === 'queued')).toEqual(before);
    expect((await runs(world, schedule)).at(-1)).toEqual(['failed', 60, 1, `No such directory: ${world.at.repo}`]);
  });
});

describe('a poison schedule (CX-35, E-060)', () => {
  test('is written down, backs off, is switched off after five with a mail; others go on, and it can come back', async () => {
    const world = await night(EVENING);
    world.at.config.profiles = { fast: { profile_name: 'fast' } as never };
    const poison = await add(world, { cron: '0 * * * *', name: 'poison', profile: 'fast' });
    await add(world, { cron: '1 * * * *', name: 'good', overlap: 'replace' });
    world.at.config.profiles = {};
    const { look, lines } = await desk(world);
    for (let hour = 1; hour <= 8; hour++) {
      world.now = EVENING + hour * HOUR + 2 * MINUTE;
      await look();
    }
    expect(await row(world, poison)).toMatchObject({
      ...{ is_enabled: 0, fail_count: 5, last_error: 'There is no profile called fast.', last_run_at: null },
      disabled_reason: 'it failed 5 times in a row: There is no profile called fast.',
    });
    const states = (await runs(world, poison)).map(([state]) => state);
    expect([states.filter((state) => state === 'failed').length, new Set(states)]).toEqual([
      5,
      new Set(['failed', 'skipped']),
    ]);
    expect(await sessions(world)).toHaveLength(8);
    const mails = await world.at.deps.store.read((tx) =>
      tx.all<{ subject: string }>('SELECT subject FROM mail WHERE from_name = :name AND to_id IS NULL', {
        name: SYSTEM,
      }),
    );
    expect(mails).toEqual([{ subject: 'The schedule poison is switched off: it failed 5 times in a row' }]);
    expect(lines.join('\n')).toContain('schedule poison: failed 5 times in a row: There is no profile called fast.');
    world.at.config.profiles = { fast: { profile_name: 'fast' } as never };
    const again = { id: poison.id, next_run_at: world.now + HOUR, disabled_reason: null, now: world.now };
    await setScheduleEnabled(world.at.deps.store, again);
    world.now += HOUR;
    await look();
    expect(await row(world, poison)).toMatchObject({ fail_count: 0, last_error: null, last_run_at: world.now });
  });
  test('a busy store is no fault of the schedule: nothing is counted, it is tried again', async () => {
    const world = await night(EVENING);
    const schedule = await add(world);
    world.now = EVENING + 15 * MINUTE;
    const { deps, look } = await desk(world);
    const config_for = deps.config_for;
    const { AppError } = await import('../../src/model/error.ts');
    deps.config_for = async () => {
      throw new AppError('parked', 'store_busy', 'busy');
    };
    await expect(look()).rejects.toThrow('busy');
    expect(await row(world, schedule)).toMatchObject({ fail_count: 0, next_run_at: EVENING + 15 * MINUTE });
    deps.config_for = config_for;
    await (await desk(world)).look();
    expect(await sessions(world)).toHaveLength(1);
  });
  test('a bug is written down before it ends the process, so that it does not meet every supervisor to come', async () => {
    const world = await night(EVENING);
    const schedule = await add(world);
    world.now = EVENING + 15 * MINUTE;
    const { deps, look } = await desk(world);
    deps.config_for = () => Promise.reject(new TypeError('a bug'));
    await expect(look()).rejects.toThrow('a bug');
    expect(await row(world, schedule)).toMatchObject({ fail_count: 1, last_error: 'internal: TypeError: a bug' });
  });
  test('an expression that means nothing any more is written down and never due again', async () => {
    const world = await night(EVENING);
    const schedule = await add(world);
    await world.at.deps.store.write((tx) => tx.run("UPDATE schedules SET timezone = 'Mars/Base'"));
    world.now = EVENING + 15 * MINUTE;
    await (await desk(world)).look();
    expect(await row(world, schedule)).toMatchObject({ fail_count: 1, next_run_at: null });
    expect((await runs(world, schedule)).map(([state]) => state)).toEqual(['failed']);
  });
});

describe('the file of a plan', () => {
  const PLAN = 'name: night\nsteps:\n  - task: graze\n  - task: sleep\n';
  const planned = async (more: Partial<ScheduleRequest> = {}) => {
    const world = await night(EVENING);
    const plan_file = join(world.at.repo, 'night.yaml');
    writeFileSync(plan_file, PLAN);
    const schedule = await add(world, { target: { plan_file, text: PLAN }, ...more });
    return { world, plan_file, schedule, supervisor: await desk(world) };
  };
  test('is read when it is due, and becomes a plan of this schedule', async () => {
    const { world, plan_file, schedule, supervisor } = await planned();
    writeFileSync(plan_file, PLAN.replace('sleep', 'rest'));
    world.now = EVENING + 15 * MINUTE;
    await supervisor.look();
    const plans = await listPlans(world.at.deps.store);
    expect(plans).toMatchObject([{ name: 'night', schedule_id: schedule.id, state: 'active', file: plan_file }]);
    const tasks = await world.at.deps.store.read((tx) => tx.all('SELECT spec_json FROM plan_steps'));
    expect(JSON.stringify(tasks)).toContain('rest');
    expect(await sessions(world)).toEqual([]);
  });
  test('that is gone, or has mistakes by now, is a failure of the schedule and starts nothing', async () => {
    const { world, plan_file, schedule, supervisor } = await planned();
    rmSync(plan_file);
    world.now = EVENING + 15 * MINUTE;
    await supervisor.look();
    writeFileSync(plan_file, 'name: night\nsteps: []\n');
    world.now = EVENING + 30 * MINUTE;
    await supervisor.look();
    expect((await runs(world, schedule)).map(([state]) => state)).toEqual(['failed', 'failed']);
    expect((await row(world, schedule))?.last_error).toStartWith('The plan has a mistake:');
    expect(await listPlans(world.at.deps.store)).toEqual([]);
  });
  test('is cancelled with its sessions when it is replaced', async () => {
    const { world, supervisor } = await planned({ overlap: 'replace' });
    world.now = EVENING + 15 * MINUTE;
    await supervisor.look();
    const [plan] = await listPlans(world.at.deps.store);
    const { store } = world.at.deps;
    const sling = slingOf('sleep', world.now);
    const view = async () => planView(store, plan?.id ?? '');
    const key = { plan_id: plan?.id ?? '', step_id: (await view())?.steps[0]?.step_id ?? '', round: 1, slot: 1 };
    const own = await startStep(store, { ...key, sling, actor: 'supervisor', now: world.now });
    const session = await world.at.asking('of-its-step', { run_id: plan?.run_id ?? '', parent_id: own?.id ?? '' });
    world.now = EVENING + 30 * MINUTE;
    await supervisor.look();
    const states = (await listPlans(world.at.deps.store)).map(({ state }) => state).sort();
    expect(states).toEqual(['active', 'cancelled']);
    for (const { id } of [own, session] as { id: string }[])
      expect((await getSession(store, id))?.state).toBe('stopped');
    const reason = expect.stringMatching(/^replaced by the next run of the schedule /);
    expect((await view())?.steps).toMatchObject([
      { state: 'cancelled', reason },
      { state: 'cancelled', reason },
    ]);
  });
});

test('a schedule whose last time is over has no next one, and one that is removed in between starts nothing', async () => {
  const world = await night(EVENING);
  const last = await add(world, { cron: '0 15 22 5 5 * 2026', name: 'last' });
  const gone = await add(world, { name: 'gone' });
  world.now = EVENING + 15 * MINUTE;
  const { look, deps } = await desk(world);
  const config_for = deps.config_for;
  deps.config_for = async (root) => {
    await removeSchedule(world.at.deps.store, gone.id);
    return config_for(root);
  };
  await look();
  expect(await row(world, last)).toMatchObject({ next_run_at: null, is_enabled: 1, last_run_at: world.now });
  expect(await sessions(world)).toHaveLength(1);
  expect(await row(world, gone)).toBeNull();
});
