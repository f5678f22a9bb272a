import { AppError } from '../model/error.ts';
import { OPERATOR } from '../model/mail.ts';
import type { ExpandedStep } from '../model/plan.ts';
import type { Decision } from '../model/plan-facts.ts';
import type { StepRow } from '../model/plan-step.ts';
import { taskOf } from '../model/plan-values.ts';
import { type Place, placeOf, prepareSling, usableName } from '../session/sling.ts';
import type { Sling } from '../store/new-session.ts';
import { startStep } from '../store/plan-step.ts';
import { handedOnTo } from './hand-on.ts';
import { failStep, keyOf, refusalOf, rowOf, type Scene, specOf } from './scene.ts';

const PLACE_MS = 1_000;

/**
 * Makes ready the start of one session of a step, its holes filled from what other steps have handed on; what it returns
 * starts it. What cannot be slung fails the step, with the refusal as its reason. False: it was not started, so what was
 * decided with it in mind is void.
 */
export async function prepareStart(
  scene: Scene,
  decision: Decision & { do: 'start' },
): Promise<() => Promise<boolean>> {
  const row = rowOf(scene, decision.step_id);
  const spec = specOf(scene, row);
  const { task, missing } = taskOf(spec, await handedOnTo(scene, row, spec));
  if (missing.length > 0) return () => failStep(scene, row, 'sling', `nothing to fill ${missing.join(', ')} with`);
  try {
    const sling = await slingFor(scene, row, spec, task);
    return () => start(scene, row, decision, sling);
  } catch (error) {
    return () => failFor(scene, row, error);
  }
}

async function start(scene: Scene, row: StepRow, { round, slot }: Decision & { do: 'start' }, sling: Sling) {
  try {
    const started = { ...keyOf(row, scene), round, slot, sling };
    const session = await startStep(scene.deps.store, { ...started, actor: 'supervisor' });
    if (session === null) return false;
  } catch (error) {
    return failFor(scene, row, error);
  }
  scene.rows.set(row.step_id, { ...row, state: 'running', started_at: row.started_at ?? scene.now });
  return true;
}

async function failFor(scene: Scene, row: StepRow, error: unknown): Promise<false> {
  const reason = finalReason(error);
  if (reason === null) throw error;
  return failStep(scene, row, 'sling', reason);
}

/** Why it can never be started; null: it may be later. A bug in one step is that step's failure, and nobody else's. */
function finalReason(error: unknown): string | null {
  const refusal = refusalOf(error);
  if (refusal !== null) return refusal.message;
  return error instanceof AppError && error.kind !== 'bug' ? null : `internal: ${String(error)}`;
}

async function slingFor(scene: Scene, row: StepRow, spec: ExpandedStep, task: string): Promise<Sling> {
  const { deps, plan } = scene;
  const caller = { name: OPERATOR, session: null };
  const sling = await prepareSling(deps, caller, {
    ...{ task, cwd: plan.working_dir, place: await placeNow(scene), name: nameOf(row.step_id) },
    ...{ harness: spec.harness ?? undefined, profile: spec.profile ?? undefined, role: spec.role ?? undefined },
    ...{ worktree: spec.worktree ?? undefined, base: spec.base ?? undefined, gate: spec.gate ?? undefined },
    ...{ timeout_ms: spec.timeout_ms ?? undefined, budget: spec.budget ?? undefined },
  });
  // A live session may have the name: then this one gets a number.
  return { ...sling, is_name_chosen: false };
}

/** To ask git once for each of many starts a second would be the most of their price. */
function placeNow({ deps, plan, memory }: Scene): Promise<Place> {
  const at = deps.clock.monotonic();
  if (memory.place !== null && at - memory.place.at < PLACE_MS) return memory.place.place;
  const asked = { at, place: placeOf(plan.working_dir) };
  memory.place = asked;
  asked.place.catch(() => {
    if (memory.place === asked) memory.place = null;
  });
  return asked.place;
}

/** A step may have a name that addresses somebody else. */
function nameOf(step_id: string): string {
  return usableName(step_id) ? step_id : `step-${step_id}`.slice(0, 63).replace(/[.-]+$/, '');
}
