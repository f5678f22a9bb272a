import { describe, expect, test } from 'bun:test';
import { newId } from '../../src/model/id.ts';
import type { PlanRow } from '../../src/model/plan.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { resumeSession, stopSession } from '../../src/store/control.ts';
import { insertSession } from '../../src/store/new-session.ts';
import { getPlan, listPlanLog, markReportedIn, movePlan, stopPlan } from '../../src/store/plan.ts';
import { cancelPlan, getStep, moveStep } from '../../src/store/plan-step.ts';
import { planView } from '../../src/store/plan-view.ts';
import { findRun } from '../../src/store/run.ts';
import { getSession } from '../../src/store/session.ts';
import { slingOf, storePlan, turnPlan } from '../support/plan.ts';
import { endTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

const PLAN = `
name: night
steps:
  - {id: a, task: first}
  - {id: b, task: second, needs: a}
  - {id: g, task: "try {{ matrix.x }}", needs: a, matrix: {x: [p, q]}}
`;

interface Made {
  world: TestStore;
  plan: PlanRow;
  /** Of the step a, which has failed with it. */
  session: SessionRow;
}

/** A plan whose first step has failed; with `ended` it has come to its end by that. */
async function failed({ ended = true, text = PLAN } = {}): Promise<Made> {
  const world = await testStore();
  const plan = await storePlan(world.store, text, world.clock.now());
  await turnPlan(world.store, plan.id, world.clock.now());
  const id = (await planView(world.store, plan.id))?.sessions[0]?.id ?? '';
  await endTurn(world, await takeTurn(world, id), { ok: false, settle: { max_attempts: 1 } });
  if (ended) await turnAll(world, plan);
  else
    await moveStep(world.store, { plan_id: plan.id, step_id: 'a', round: 1, to: 'failed', outcome: 'failed', now: 5 });
  return { world, plan, session: (await getSession(world.store, id)) as SessionRow };
}

async function turnAll({ store, clock }: TestStore, { id }: PlanRow): Promise<void> {
  for (let looks = 0; looks < 10 && (await turnPlan(store, id, clock.now())).length > 0; looks++);
}

const briefOf = (from_id: string | null = null) => ({
  ...({ from_name: 'operator', from_id, type: 'nudge', priority: 'high', subject: 's', body: 'b' } as const),
  payload_json: null,
});
const resume = ({ world: { store }, session }: Made, by: string | null = null) =>
  resumeSession(store, {
    ...{ session_id: session.id, brief: briefOf(by), interrupt_reason: 'r', always_brief: true, now: 100 },
  });
const statesOf = async ({ world: { store }, plan }: Made) =>
  Object.fromEntries((await planView(store, plan.id))?.steps.map(({ step_id, state }) => [step_id, state]) ?? []);
const finish = async (made: Made, id = made.session.id) => {
  await endTurn(made.world, await takeTurn(made.world, id), { ok: true });
  await turnAll(made.world, made.plan);
};

describe('a person resumes the session of a step that has failed (C-12)', () => {
  test('its plan had ended: it is open again, goes on to its end, and is reported again', async () => {
    const made = await failed();
    const { world, plan } = made;
    expect(await statesOf(made)).toEqual({
      a: 'failed',
      b: 'skipped',
      g: 'skipped',
      'g.1': 'skipped',
      'g.2': 'skipped',
    });
    expect(await world.store.write((tx) => markReportedIn(tx, plan.id, 9))).toBe(true);
    const { taken_up } = await resume(made);
    expect(taken_up).toEqual({ plan_id: plan.id, plan_name: 'night', step_id: 'a', is_reopened: true });
    expect(await getPlan(world.store, plan.id)).toMatchObject({ state: 'active', ended_at: null, reported_at: null });
    expect(await findRun(world.store, plan.run_id)).toMatchObject({ status: 'active', completed_at: null });
    expect(await getStep(world.store, plan.id, 'a')).toMatchObject({ state: 'running', outcome: null, ended_at: null });
    await turnAll(world, plan);
    expect(await statesOf(made)).toEqual({
      a: 'running',
      b: 'pending',
      g: 'pending',
      'g.1': 'pending',
      'g.2': 'pending',
    });
    await finish(made);
    expect(await statesOf(made)).toMatchObject({ a: 'done', b: 'running', 'g.1': 'running', 'g.2': 'running' });
    for (const { id, step_id } of (await planView(world.store, plan.id))?.sessions ?? [])
      if (step_id !== 'a') await finish(made, id);
    expect(await getPlan(world.store, plan.id)).toMatchObject({ state: 'completed', reported_at: null });
    const events = (await listPlanLog(world.store, plan.id)).filter(({ event }) => event === 'reopened');
    expect(events.map(({ step_id, detail }) => [step_id, detail?.split(' ')[0]])).toEqual([
      ['a', made.session.name],
      [null, 'a'],
      ...['b', 'g.1', 'g.2', 'g'].map((id): [string, undefined] => [id, undefined]),
    ]);
  });

  test('its plan is open: the step goes on, once, also when it fails again', async () => {
    const made = await failed({ ended: false });
    expect((await resume(made)).taken_up).toMatchObject({ is_reopened: false });
    expect((await resume(made)).taken_up).toBeUndefined();
    await endTurn(made.world, await takeTurn(made.world, made.session.id), { ok: false, settle: { max_attempts: 1 } });
    await turnAll(made.world, made.plan);
    expect(await statesOf(made)).toMatchObject({ a: 'failed', b: 'skipped' });
    expect(await getPlan(made.world.store, made.plan.id)).toMatchObject({
      state: 'failed',
      reason: '1 of 4 steps failed',
    });
  });

  test('a plan of the same name has taken the name of its run by now', async () => {
    const made = await failed();
    await storePlan(made.world.store, PLAN, 50);
    await resume(made);
    expect(await findRun(made.world.store, made.plan.run_id)).toMatchObject({ status: 'active', name: 'night-2' });
  });

  test('a stop because of its failure is lifted, and what it left out comes; one for money stays', async () => {
    const text = 'name: n\non_failure: stop\nconcurrency: 1\nsteps: [{id: a, task: t}, {id: b, task: t}]\n';
    const made = await failed({ text });
    expect(await getPlan(made.world.store, made.plan.id)).toMatchObject({ state: 'failed', stopping: 'on_failure' });
    await resume(made);
    await finish(made);
    expect(await statesOf(made)).toEqual({ a: 'done', b: 'running' });

    const poor = await failed({ ended: false });
    await stopPlan(poor.world.store, { id: poor.plan.id, cause: 'usd', now: 6 });
    await turnAll(poor.world, poor.plan);
    await resume(poor);
    await finish(poor);
    expect(await statesOf(poor)).toMatchObject({ a: 'done', b: 'skipped' });
    expect(await getPlan(poor.world.store, poor.plan.id)).toMatchObject({ state: 'failed', stopping: 'usd' });
  });

  test("who was called off before it began does so at a person's word", async () => {
    const text = 'name: n\nstop_when: {failed_steps: 1}\nsteps: [{id: a, task: t}, {id: c, task: t}]\n';
    const made = await failed({ text, ended: false });
    await turnAll(made.world, made.plan);
    expect(await statesOf(made)).toEqual({ a: 'failed', c: 'skipped' });
    const { store } = made.world;
    const queued = (await planView(store, made.plan.id))?.sessions.find(({ step_id }) => step_id === 'c')?.id ?? '';
    await stopSession(store, { session_id: queued, actor: 'supervisor', reason: 'r', now: 7 });
    const own = { ...made, session: (await getSession(store, queued)) as SessionRow };
    expect((await resume(own)).taken_up).toMatchObject({ step_id: 'c', is_reopened: true });
    await finish(own);
    expect(await statesOf(made)).toEqual({ a: 'failed', c: 'done' });
  });

  test('a session opens no plan that has ended; nobody one that was cancelled, or that a bug of ours has ended', async () => {
    const made = await failed();
    expect((await resume(made, 'agent-somebody')).taken_up).toBeNull();
    expect(await getPlan(made.world.store, made.plan.id)).toMatchObject({ state: 'failed' });
    for (const as of ['cancelled', 'failed'] as const) {
      const other = await failed({ ended: false });
      const reason = as === 'failed' ? 'internal: bug' : 'enough';
      await cancelPlan(other.world.store, { id: other.plan.id, reason, now: 6, as });
      expect((await resume(other)).taken_up).toBeNull();
      expect(await getPlan(other.world.store, other.plan.id)).toMatchObject({ state: as, reason });
    }
  });

  test('a plan does not end by a look of before', async () => {
    const made = await failed({ ended: false });
    await stopPlan(made.world.store, { id: made.plan.id, cause: 'usd', now: 6 });
    const through = { id: made.plan.id, to: 'failed', reason: null, is_through: true, now: 7 } as const;
    await turnAll(made.world, made.plan);
    await resume(made);
    expect(await movePlan(made.world.store, through)).toBeNull();
    const stop = { id: made.plan.id, cause: 'on_failure', failed: 1, now: 8 } as const;
    expect(await stopPlan(made.world.store, stop)).toBe(false);
  });
});

test('who recovers the session of a failed step is its next try (E-144)', async () => {
  const made = await failed();
  const { store } = made.world;
  const { id: _id, ...row } = made.session;
  const sling = slingOf('again', 60);
  const draft = { ...row, id: newId('agent'), recovered_from: made.session.id };
  const heir = await insertSession(store, { ...sling, draft, brief: briefOf() });
  expect(await getPlan(store, made.plan.id)).toMatchObject({ state: 'active' });
  await finish(made, heir.id);
  const step = await getStep(store, made.plan.id, 'a');
  expect(step).toMatchObject({ state: 'done', round: 2, session_id: heir.id });
});
