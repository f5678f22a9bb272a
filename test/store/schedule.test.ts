import { describe, expect, test } from 'bun:test';
import { newId } from '../../src/model/id.ts';
import { type DueDecision, due, MAX_FAILURES } from '../../src/model/schedule.ts';
import { parseCron } from '../../src/plan/cron.ts';
import { readPlan } from '../../src/plan/read.ts';
import { stopSession } from '../../src/store/control.ts';
import { movePlan } from '../../src/store/plan.ts';
import {
  dueSchedules,
  failSchedule,
  findSchedule,
  fireSchedule,
  insertSchedule,
  listScheduleRuns,
  listSchedules,
  type NewSchedule,
  nextScheduleAt,
  removeSchedule,
  setScheduleEnabled,
} from '../../src/store/schedule.ts';
import type { Store } from '../../src/store/store.ts';
import { slingOf } from '../support/plan.ts';
import { type TestStore, testStore } from '../support/store.ts';

const MINUTE = 60_000;
const DUE = Date.parse('2026-05-05T12:00:00Z');

const draft = (more: Partial<NewSchedule> = {}): NewSchedule => ({
  ...{ id: newId('schedule'), name: 'check', cron: '*/15 * * * *', timezone: 'UTC', task: 'Check backlog health' },
  ...{
    plan_file: null,
    variables_json: null,
    harness: null,
    profile_name: null,
    role: null,
    worktree: null,
    repo_root: '/farm',
    working_dir: '/farm',
  },
  ...{ project: 'ecc-core', task_group: 'scheduled maintenance', overlap: 'skip', catch_up: 'latest', catch_up_max: 1 },
  ...{ next_run_at: DUE, ...more },
});
/** What is due, as the loop would decide it. */
async function decide(store: Store, now: number): Promise<DueDecision[]> {
  const states = await dueSchedules(store, now);
  const facts = states.map(({ schedule, waiting, live, halted }) => ({
    ...{ schedule, waiting, halted, is_running: live.length > 0 },
    occurrences: parseCron(schedule.cron, schedule.timezone, now),
  }));
  return due(facts, now, 10);
}
const starts = ({ release, entries }: DueDecision) =>
  release !== null || entries.some(({ state }) => state === 'fired');
const session = (now: number) => {
  const sling = slingOf('Check backlog health', now);
  return { session: { ...sling, draft: { ...sling.draft, project: 'ecc-core', task_group: 'scheduled maintenance' } } };
};
async function fire(store: Store, now: number) {
  const [decision] = await decide(store, now);
  if (decision === undefined) return null;
  return fireSchedule(store, { decision, start: starts(decision) ? session(now) : null, actor: 'supervisor', now });
}
const rows = async (world: TestStore, id: string) =>
  (await listScheduleRuns(world.store, id))
    .map(({ state, due_at, times, reason }) => ({ state, at: (due_at - DUE) / MINUTE, times, reason }))
    .reverse();
const stop = (store: Store, session_id: string) =>
  stopSession(store, { session_id, actor: 'cli', reason: 'x', now: DUE });
const made = async (more: Partial<NewSchedule> = {}) => {
  const world = await testStore();
  return { world, row: await insertSchedule(world.store, draft(more), 1) };
};

test('a due schedule queues one session with its grouping and moves on (E-058)', async () => {
  const { world, row } = await made();
  const now = DUE + MINUTE / 2;
  const fired = await fire(world.store, now);
  expect(fired?.session).toMatchObject({
    state: 'queued',
    project: 'ecc-core',
    task_group: 'scheduled maintenance',
    task: 'Check backlog health',
  });
  expect(fired?.schedule).toMatchObject({ id: row.id, last_run_at: now, next_run_at: DUE + 15 * MINUTE });
  expect(await rows(world, row.id)).toEqual([{ state: 'fired', at: 0, times: 1, reason: null }]);
  expect(await decide(world.store, now)).toEqual([]);
  expect(await nextScheduleAt(world.store)).toBe(DUE + 15 * MINUTE);
});

test('once per due time, whoever polls (I9)', async () => {
  const { world, row } = await made();
  const [decision] = await decide(world.store, DUE);
  if (decision === undefined) throw new Error('nothing is due');
  const stores = await Promise.all(Array.from({ length: 4 }, () => world.second()));
  const input = { decision, actor: 'supervisor' as const, now: DUE };
  const landed = await Promise.all(stores.map((store) => fireSchedule(store, { ...input, start: session(DUE) })));
  expect(landed.filter((each) => each !== null)).toHaveLength(1);
  expect(await world.store.read((tx) => tx.get('SELECT count(*) AS n FROM sessions'))).toEqual({ n: 1 });
  expect(await rows(world, row.id)).toHaveLength(1);
});

test('after a night of sleep one run makes up for all, and the rest is one row with its reason (E-059)', async () => {
  const { world, row } = await made();
  await fire(world.store, DUE + 8 * 60 * MINUTE + 1);
  expect(await rows(world, row.id)).toEqual([
    { state: 'missed', at: 0, times: 32, reason: 'passed over: a later one makes up for it' },
    { state: 'fired', at: 480, times: 1, reason: null },
  ]);
});

test('what overlaps is skipped with its reason, while what it started has not ended', async () => {
  const { world, row } = await made();
  const first = await fire(world.store, DUE);
  expect(await fire(world.store, DUE + 15 * MINUTE)).toMatchObject({ session: null, plan_id: null });
  await stop(world.store, first?.session?.id ?? '');
  expect((await fire(world.store, DUE + 30 * MINUTE))?.session).not.toBeNull();
  expect((await rows(world, row.id)).map(({ state }) => state)).toEqual(['fired', 'skipped', 'fired']);
});

test('what waits goes once the one before has ended, once, whoever looks', async () => {
  const { world, row } = await made({ overlap: 'queue' });
  const first = await fire(world.store, DUE);
  await fire(world.store, DUE + 15 * MINUTE);
  await fire(world.store, DUE + 30 * MINUTE);
  expect((await rows(world, row.id)).map(({ state }) => state)).toEqual(['fired', 'waiting', 'skipped']);
  expect(await decide(world.store, DUE + 31 * MINUTE)).toEqual([]);
  await stop(world.store, first?.session?.id ?? '');
  const now = DUE + 32 * MINUTE;
  const [decision] = await decide(world.store, now);
  if (decision === undefined) throw new Error('nothing may go');
  const stores = [world.store, await world.second()];
  const landed = await Promise.all(
    stores.map((store) => fireSchedule(store, { decision, start: session(now), actor: 'supervisor', now })),
  );
  expect(landed.filter((each) => each !== null)).toHaveLength(1);
  expect((await rows(world, row.id)).map(({ state, reason }) => [state, reason])).toEqual([
    ['fired', null],
    ['fired', 'it waited'],
    ['skipped', 'others wait already'],
  ]);
  expect(await findSchedule(world.store, 'check')).toMatchObject({ next_run_at: DUE + 45 * MINUTE });
});

test('what waits is passed over when its schedule is switched off, also by its failures, and not started later', async () => {
  for (const how of ['by hand', 'by failures']) {
    const { world, row } = await made({ overlap: 'queue' });
    const first = await fire(world.store, DUE);
    await fire(world.store, DUE + 15 * MINUTE);
    const of = { id: row.id, now: DUE + 16 * MINUTE };
    if (how === 'by hand')
      await setScheduleEnabled(world.store, { ...of, next_run_at: null, disabled_reason: 'holidays' });
    else
      await world.store.write((tx) =>
        tx.run("UPDATE schedules SET is_enabled = 0, disabled_reason = 'it failed 5 times in a row: x'"),
      );
    await stop(world.store, first?.session?.id ?? '');
    await setScheduleEnabled(world.store, { ...of, next_run_at: DUE + 60 * MINUTE, disabled_reason: null });
    expect(await decide(world.store, DUE + 20 * MINUTE)).toEqual([]);
    expect((await rows(world, row.id)).map(({ state, reason }) => [state, reason])).toEqual([
      ['fired', null],
      ['skipped', 'the schedule was switched off'],
    ]);
    // Whoever is switched on already loses nothing.
    await fire(world.store, DUE + 60 * MINUTE);
    await fire(world.store, DUE + 75 * MINUTE);
    await setScheduleEnabled(world.store, { ...of, next_run_at: DUE + 90 * MINUTE, disabled_reason: null });
    expect((await rows(world, row.id)).at(-1)).toMatchObject({ state: 'waiting' });
  }
});

test('a plan is started in the same transaction, and counts as running until it has ended', async () => {
  const { world, row } = await made({ task: null, plan_file: 'night.yaml' });
  const { plan } = readPlan('name: night\nsteps: [{task: t}]');
  if (plan === null) throw new Error('no plan');
  const { steps, ...settings } = plan.file;
  expect(steps).toHaveLength(1);
  const [decision] = await decide(world.store, DUE);
  if (decision === undefined) throw new Error('nothing is due');
  const start = {
    plan: {
      ...{ id: newId('plan'), settings, steps: plan.steps.map((step) => ({ step, pool: 'p' })), repo_root: '/farm' },
      ...{ working_dir: '/farm', file: 'night.yaml', schedule_id: null, now: DUE },
    },
  };
  const fired = await fireSchedule(world.store, { decision, start, actor: 'supervisor', now: DUE });
  expect(fired?.plan_id).toBe(start.plan.id);
  const live = async () => (await dueSchedules(world.store, DUE + 15 * MINUTE))[0]?.live;
  expect(await live()).toEqual([{ session_id: null, plan_id: start.plan.id }]);
  await movePlan(world.store, { id: start.plan.id, to: 'failed', reason: null, now: DUE });
  expect(await live()).toEqual([]);
  expect(row.plan_file).toBe('night.yaml');
});

describe('a poison schedule (CX-35, E-060)', () => {
  test('is written down, waits longer each time, is switched off at the fifth failure with one mail, and others go on', async () => {
    const { world, row } = await made({ cron: '0 */6 * * *' });
    await insertSchedule(world.store, draft({ name: 'good' }), 1);
    const other = { ...(await findSchedule(world.store, 'good')) };
    let now = DUE;
    for (let n = 1; n <= MAX_FAILURES; n++, now += 6 * 60 * MINUTE) {
      const decision = (await decide(world.store, now)).find(({ schedule_id }) => schedule_id === row.id);
      if (decision === undefined) throw new Error('it is not due');
      const both = [world.store, await world.second()].map((store) =>
        failSchedule(store, { decision, error: 'no such profile', now }),
      );
      expect((await Promise.all(both)).filter((each) => each !== null)).toHaveLength(1);
    }
    expect(await findSchedule(world.store, row.id)).toMatchObject({
      ...{ fail_count: 5, is_enabled: 0, last_error: 'no such profile', last_run_at: null },
      disabled_reason: 'it failed 5 times in a row: no such profile',
    });
    expect((await rows(world, row.id)).map(({ state }) => state)).toEqual([
      'failed',
      'failed',
      'failed',
      'failed',
      'failed',
    ]);
    const mail = await world.store.read((tx) =>
      tx.all<{ subject: string; to_name: string }>('SELECT subject, to_name FROM mail'),
    );
    expect(mail).toEqual([
      { subject: 'The schedule check is switched off: it failed 5 times in a row', to_name: 'operator' },
    ]);
    expect((await decide(world.store, now)).map(({ schedule_id }) => schedule_id)).toEqual([other.id ?? '']);
    const again = { id: row.id, next_run_at: now, disabled_reason: null, now };
    expect(await setScheduleEnabled(world.store, again)).toMatchObject({
      is_enabled: 1,
      fail_count: 0,
      disabled_reason: null,
    });
    expect(await decide(world.store, now)).toHaveLength(2);
  });

  test('a start that throws writes nothing, and a good one forgets the failures', async () => {
    const { world, row } = await made();
    const [decision] = await decide(world.store, DUE);
    if (decision === undefined) throw new Error('nothing is due');
    const { session: sling } = session(DUE);
    const orphan = { session: { ...sling, draft: { ...sling.draft, parent_id: 'nobody' } } };
    const input = { decision, actor: 'supervisor' as const, now: DUE };
    await expect(fireSchedule(world.store, { ...input, start: orphan })).rejects.toMatchObject({
      code: 'parent_ended',
    });
    expect(await findSchedule(world.store, row.id)).toEqual(row);
    expect(await failSchedule(world.store, { decision, error: 'x', now: DUE })).toMatchObject({
      fail_count: 1,
      backoff_until_at: DUE + MINUTE,
    });
    await fire(world.store, DUE + 15 * MINUTE);
    expect(await findSchedule(world.store, row.id)).toMatchObject({
      fail_count: 0,
      last_error: null,
      backoff_until_at: null,
    });
  });
});

test('names are unique; removing tells whether there was one (E-055, E-057)', async () => {
  const { world, row } = await made();
  await expect(insertSchedule(world.store, draft(), 2)).rejects.toMatchObject({ code: 'schedule_exists' });
  expect((await listSchedules(world.store)).map(({ name }) => name)).toEqual(['check']);
  expect([await removeSchedule(world.store, row.id), await removeSchedule(world.store, row.id)]).toEqual([true, false]);
  expect(await nextScheduleAt(world.store)).toBeNull();
});
