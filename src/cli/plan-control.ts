import { AppError } from '../model/error.ts';
import type { PlanRow } from '../model/plan.ts';
import type { PlanView, StepSession } from '../model/plan-view.ts';
import type { SessionRow } from '../model/session.ts';
import { resume, stop } from '../session/control.ts';
import type { Deps } from '../session/deps.ts';
import { type Caller, callerOf } from '../session/identity.ts';
import { demandPerson } from '../session/rights.ts';
import { haltedError, standingHalt } from '../store/halted.ts';
import { findPlan, getPlan, movePlan } from '../store/plan.ts';
import { cancelPlan, reopenMerges } from '../store/plan-step.ts';
import { planView } from '../store/plan-view.ts';
import { getSession } from '../store/session.ts';
import type { Context } from './context.ts';
import { paint, printJson, safe } from './output.ts';
import { personWaits, waitsText } from './plan-waits.ts';
import { paintPlanState } from './render-plan.ts';
import { wake } from './wake.ts';

/** `plan pause`: nothing new starts, running turns go on. Throws `plan_ended` (3), `plan_not_found` (4). */
export async function planPause(context: Context, word: string, reason: string): Promise<void> {
  const { deps, plan } = await opened(context, word, 'pause a plan');
  const moved = await movePlan(deps.store, { id: plan.id, to: 'paused', reason, now: deps.clock.now() });
  if (moved === null) await refuseEnded(deps, plan, 'paused');
  if (context.globals.json) return printJson({ plan: moved ?? plan, prev: plan.state, changed: moved !== null });
  tell(plan, moved, 'running turns go on, nothing new starts');
}

/** `plan resume`: goes on. With `sessions` those go on too that a person has parked. Throws `halted` (3). */
export async function planResume(context: Context, word: string, options: { sessions?: boolean }): Promise<void> {
  const { deps, caller, plan } = await opened(context, word, 'resume a plan');
  const halt = await standingHalt(deps.store);
  if (halt !== null) throw haltedError(halt, 'nothing was changed');
  const resumed = options.sessions ? await resumeParked(deps, caller, plan) : [];
  await reopenMerges(deps.store, { plan_id: plan.id, now: deps.clock.now() });
  const moved = await movePlan(deps.store, { id: plan.id, to: 'active', reason: null, now: deps.clock.now() });
  if (moved === null) await refuseEnded(deps, plan, 'active');
  await wake(deps);
  const waiting = await personWaits(deps.store, plan.run_id, deps.clock.now());
  if (context.globals.json)
    return printJson({ plan: moved ?? plan, prev: plan.state, changed: moved !== null, resumed, waiting });
  tell(plan, moved, '');
  for (const { name } of resumed) console.log(`  ${safe(name)}: goes on`);
  if (waiting.length > 0) console.log(waitsText(waiting).join('\n'));
}

/** Only what a person's word holds: a limit, a question or a conflict is not answered by this one. */
async function resumeParked(deps: Deps, caller: Caller, plan: PlanRow): Promise<{ id: string; name: string }[]> {
  const view = await planView(deps.store, plan.id);
  const resumed = [];
  for (const { id, name } of view === null ? [] : heldByPerson(view)) {
    const row = await getSession(deps.store, id);
    if (row?.state !== 'parked') continue;
    await resume(deps, caller, row, {});
    resumed.push({ id, name });
  }
  return resumed;
}

function heldByPerson({ steps, sessions }: PlanView): StepSession[] {
  const rounds = new Map(steps.map(({ step_id, round }) => [step_id, round]));
  return sessions.filter(
    ({ step_id, round, state, parked_reason, resume_at }) =>
      rounds.get(step_id) === round && state === 'parked' && parked_reason === 'operator' && resume_at === null,
  );
}

/** `plan cancel`: ends it and its sessions; their work stays. Throws `plan_ended` (3), `plan_not_found` (4). */
export async function planCancel(context: Context, word: string, reason: string): Promise<void> {
  const { deps, plan } = await opened(context, word, 'cancel a plan');
  const live = await cancelPlan(deps.store, { id: plan.id, reason, now: deps.clock.now() });
  if (live === null) await refuseEnded(deps, plan, 'cancelled');
  const stopped: Pick<SessionRow, 'id' | 'name'>[] = [];
  for (const id of live ?? []) {
    const row = await getSession(deps.store, id);
    if (row === null) continue;
    const { changed } = await stop(deps, row, `plan cancelled: ${reason}`);
    if (changed) stopped.push({ id, name: row.name });
  }
  // What its sessions left running is ended by the supervisor.
  if (stopped.length > 0) await wake(deps);
  const after = (await getPlan(deps.store, plan.id)) ?? plan;
  if (context.globals.json) return printJson({ plan: after, prev: plan.state, changed: live !== null, stopped });
  tell(plan, live === null ? null : after, '');
  for (const { name } of stopped) console.log(`  ${safe(name)}: stopped; its work is kept`);
}

async function opened(
  context: Context,
  word: string,
  what: string,
): Promise<{ deps: Deps; caller: Caller; plan: PlanRow }> {
  // A verb that only changes what is stored makes no home where there is none.
  if ((await context.reader()) === null)
    throw new AppError('not_found', 'plan_not_found', `Plan not found: ${word}`, {
      hint: 'Nothing was ever stored here.',
    });
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demandPerson(caller, what);
  return { deps, caller, plan: await findPlan(deps.store, word) };
}

/** A move that did not land: it is so already, or it is too late for it. */
async function refuseEnded({ store }: Deps, plan: PlanRow, wanted: PlanRow['state']): Promise<void> {
  const now = await getPlan(store, plan.id);
  if (now === null || now.state === wanted || now.ended_at === null) return;
  const goesOn = wanted === 'active' && now.state === 'failed';
  throw new AppError('refused', 'plan_ended', `The plan ${plan.name} is ${now.state}.`, {
    hint: goesOn
      ? '`drover resume SESSION`, of a step that has failed, opens it again; `drover plan show` has their names.'
      : '`drover plan run FILE` starts another one.',
    preserved: 'nothing was changed',
  });
}

function tell(before: PlanRow, moved: PlanRow | null, why: string): void {
  const name = paint('bold', safe(before.name));
  if (moved === null) console.log(`${name}: already ${paintPlanState(before.state)}`);
  else console.log(`${name}: ${before.state} → ${paintPlanState(moved.state)}${why === '' ? '' : ` (${why})`}`);
}
