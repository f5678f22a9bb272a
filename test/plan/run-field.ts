import { newId } from '../../src/model/id.ts';
import type { PlanRow } from '../../src/model/plan.ts';
import type { StepRow } from '../../src/model/plan-step.ts';
import { readPlan } from '../../src/plan/read.ts';
import { advancePlan } from '../../src/plan/run.ts';
import type { Deps } from '../../src/session/deps.ts';
import { getPlan, insertPlan } from '../../src/store/plan.ts';
import { planView } from '../../src/store/plan-view.ts';
import { endTurn, type TestStore, takeTurn } from '../support/store.ts';

/** Stores a plan for a repository; every step's pool is `rehearsal`. */
export async function storePlanAt(world: TestStore, repo: string, text: string): Promise<PlanRow> {
  const { plan, issues } = readPlan(`defaults: {harness: rehearsal, worktree: false}\n${text}`);
  if (plan === null) throw new Error(issues.map(({ line, message }) => `${line}: ${message}`).join('\n'));
  const { steps: _steps, ...settings } = plan.file;
  return insertPlan(world.store, {
    ...{ id: newId('plan'), settings, repo_root: repo, working_dir: repo, file: null, schedule_id: null },
    ...{ steps: plan.steps.map((step) => ({ step, pool: 'rehearsal' })), now: world.clock.now() },
  });
}

/** One look now, with what is remembered of no look before. */
export const look = (world: TestStore, plan: Pick<PlanRow, 'id'>, deps: Deps = world.deps) =>
  advancePlan(deps, plan.id, world.clock.now());

export async function stepsOf(world: TestStore, { id }: Pick<PlanRow, 'id'>): Promise<Record<string, StepRow>> {
  const view = await planView(world.store, id);
  return Object.fromEntries((view?.steps ?? []).map((row) => [row.step_id, row]));
}

export async function statesOf(world: TestStore, plan: Pick<PlanRow, 'id'>): Promise<Record<string, string>> {
  const steps = Object.values(await stepsOf(world, plan));
  return Object.fromEntries(steps.map(({ step_id, state }) => [step_id, state]));
}

export interface Slung {
  id: string;
  name: string;
  task: string;
  state: string;
  step_id: string;
  round: number;
  slot: number;
}

/** Sessions of the plan in the order of their steps, rounds and slots. */
export function sessionsOf({ store }: TestStore, { id }: Pick<PlanRow, 'id'>): Promise<Slung[]> {
  return store.read((tx) =>
    tx.all<Slung>(
      `SELECT s.id, s.name, s.task, s.state, t.step_id, t.round, t.slot FROM step_sessions AS t
       JOIN sessions AS s ON s.id = t.session_id WHERE t.plan_id = :id ORDER BY t.step_id, t.round, t.slot`,
      { id },
    ),
  );
}

/** Plays the only turn of a session to its end; `text` is its final answer. */
export async function work(world: TestStore, session: Pick<Slung, 'id'>, text = 'done', ok = true): Promise<void> {
  await endTurn(world, await takeTurn(world, session.id), { ok, settle: { max_attempts: 1 } });
  await world.store.write((tx) =>
    tx.run('UPDATE sessions SET result_text = :text WHERE id = :id', { text, id: session.id }),
  );
}

/** Plays every queued session of the plan. */
export async function workAll(world: TestStore, plan: PlanRow, answer: (task: string) => string | null): Promise<void> {
  for (const session of await sessionsOf(world, plan)) {
    if (session.state !== 'queued') continue;
    const text = answer(session.task);
    await work(world, session, text ?? 'no', text !== null);
  }
}

/** Looks and plays until the plan has ended, at most so often. */
export async function playOut(
  world: TestStore,
  plan: PlanRow,
  answer: (task: string) => string | null,
): Promise<PlanRow> {
  for (let looks = 0; looks < 60; looks += 1) {
    await look(world, plan);
    const now = await getPlan(world.store, plan.id);
    if (now === null || now.ended_at !== null) return now ?? plan;
    await workAll(world, plan, answer);
    world.clock.advance(10_000);
  }
  throw new Error(`it does not end: ${JSON.stringify(await statesOf(world, plan))}`);
}
