import { mergeSession, type OneRequest, rebaseSession } from '../merge/one.ts';
import { AppError } from '../model/error.ts';
import { OPERATOR } from '../model/mail.ts';
import type { ExpandedStep } from '../model/plan.ts';
import type { WayOn } from '../model/plan-step.ts';
import type { SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import { openPullRequest } from '../session/pull-request.ts';
import { mergesCutOff } from '../store/merge.ts';
import { getStep, moveStep, parkStep } from '../store/plan-step.ts';
import { getSession } from '../store/session.ts';
import type { Effect } from './effects.ts';
import { refusalOf } from './scene.ts';

/**
 * Brings the work of a step where it is meant to go: by the merge queue's own ways, waiting for others to be done, and
 * rebasing once when it conflicts; or by the person's command that opens a pull request. What is refused parks the step, its
 * work kept, until a person has merged it (`drover merge`). May be begun again after a crash at any instruction: what was
 * merged is not merged twice; the command of the person may run twice. Throws what passes by itself, and bugs.
 */
export async function mergeStep(deps: Deps, wanted: Effect & { do: 'merge' }, signal: AbortSignal): Promise<void> {
  const { store, clock } = deps;
  const { plan_id, step_id, round, session_id } = wanted;
  const step = await getStep(store, plan_id, step_id);
  const row = await getSession(store, session_id);
  // That the session is gone, `advance` says in its own words.
  if (row === null || step === null || step.state !== 'merging' || step.round !== round) return;
  const { merge } = JSON.parse(step.spec_json) as ExpandedStep;
  let refusal: string | null;
  let way_on: WayOn | undefined;
  let told: AppError | null = null;
  try {
    refusal = merge === 'pr' ? await openPullRequest(deps, row) : await mergeWhenFree(deps, wanted, row, signal);
  } catch (error) {
    const refused = refusalOf(error);
    if (refused === null && error instanceof AppError && error.kind !== 'bug') throw error;
    refusal = refused?.message ?? `internal: ${String(error)}`;
    if (refused !== null) way_on = wayOn(refused);
    if (refused?.code === 'target_checkout_dirty') told = refused;
    if (refused === null) {
      // A bug must not meet every supervisor to come.
      await moveStep(store, { plan_id, step_id, round, to: 'parked', reason: refusal, now: clock.now() });
      throw error;
    }
  }
  const key = { plan_id, step_id, round, now: clock.now() };
  if (refusal !== null) {
    const move = { ...key, reason: refusal, ...(way_on && { way_on }) };
    if (told === null) await moveStep(store, { ...move, to: 'parked' });
    else await parkStep(store, move, wordsOf(told));
  } else if (merge === 'pr') await moveStep(store, { ...key, to: 'done', session_id });
}

/** What the refusal itself says is to be done first; that the work is handed to another session, is no way for the step. */
function wayOn({ details }: AppError): WayOn {
  const { hint, recovery_commands = [] } = details;
  return {
    hint: hint ?? null,
    commands: recovery_commands.filter((command) => !/^drover (recover|merge) /.test(command)),
  };
}

/** A checkout with a person's changes in it: nobody else may touch them. */
function wordsOf({ message, details }: AppError): { what: string; body: string } {
  const { hint, unsafe_condition, recovery_commands = [] } = details;
  return { what: message, body: [`${message} (${unsafe_condition}).`, hint, ...recovery_commands].join('\n') };
}

/** So many supervisors may be killed in the middle of it, as by a gate that ends whoever runs it; then a person has to look. */
const MOST_CUT = 3;

/** Between two looks at a checkout of the target that somebody works in. */
const LOOK_MS = 500;

/**
 * As `mergeOrRebase`, once nobody is in the middle of a turn in the target's checkout: its files are not moved under anybody,
 * and no person has to come for that. Who no longer waits for the merge is not merged.
 */
async function mergeWhenFree(
  deps: Deps,
  wanted: Effect & { do: 'merge' },
  row: SessionRow,
  signal: AbortSignal,
): Promise<string | null> {
  if ((await mergesCutOff(deps.store, row.id)) >= MOST_CUT)
    return 'its merge was begun again and again, and each time the supervisor was killed meanwhile, as by a gate';
  for (;;) {
    try {
      return await mergeOrRebase(deps, row, signal);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'target_in_use') throw error;
      await deps.clock.sleep(LOOK_MS, signal);
      const step = await getStep(deps.store, wanted.plan_id, wanted.step_id);
      if (signal.aborted || step?.state !== 'merging' || step.round !== wanted.round) throw interrupted();
    }
  }
}

function interrupted(): AppError {
  return new AppError('interrupted', 'interrupted', 'the merge was not waited for', {
    preserved: 'nothing was changed',
  });
}

/** Null: its work is in. */
async function mergeOrRebase(deps: Deps, row: SessionRow, signal: AbortSignal): Promise<string | null> {
  const patience = { wait_ms: Number.POSITIVE_INFINITY, onWait: () => undefined };
  const request: OneRequest = { row, into: null, is_clean: true, patience, dry_run: false, by: OPERATOR, signal };
  try {
    return await merged(deps, request);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'merge_conflict') throw error;
    await rebaseSession(deps, request);
    return merged(deps, { ...request, row: (await getSession(deps.store, row.id)) ?? row });
  }
}

async function merged(deps: Deps, request: OneRequest): Promise<string | null> {
  const done = await mergeSession(deps, request);
  if (done === null || done.outcome === 'merged' || done.outcome === 'up_to_date') return null;
  return `${done.outcome}: ${done.reason ?? 'it was not merged'}`;
}
