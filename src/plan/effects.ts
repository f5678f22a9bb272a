import type { StepRow } from '../model/plan-step.ts';
import type { PlanView, StepSession } from '../model/plan-view.ts';
import { isTerminal } from '../model/session.ts';
import { type Scene, specOf } from './scene.ts';

/**
 * What is to be done in the world because of what is written. It is read off the rows, not off decisions: whoever comes
 * after a crash finds the same. `merge` and `count` take their time; `key` says which are the same.
 */
export type Effect =
  | { do: 'stop'; key: string; session_id: string; reason: string }
  | { do: 'merge'; key: string; plan_id: string; step_id: string; round: number; session_id: string }
  | { do: 'count'; key: string; session_id: string };

/** What a session is told that was slung, and is not to begin any more. */
export const STOPS_EARLY = 'its plan stops early';

export function effectsOf(scene: Scene): Effect[] {
  const effects: Effect[] = [];
  for (const session of scene.sessions.values()) {
    const row = scene.rows.get(session.step_id);
    if (row === undefined) continue;
    const reason = isTerminal(session.state) ? null : whyNotWanted(session, row);
    if (reason !== null) effects.push({ do: 'stop', key: `stop ${session.id}`, session_id: session.id, reason });
    if (isUncounted(scene, session)) effects.push({ do: 'count', key: `count ${session.id}`, session_id: session.id });
  }
  for (const { plan_id, step_id, round, state, session_id } of scene.rows.values()) {
    if (state !== 'merging' || session_id === null || isMerged(scene.sessions.get(session_id))) continue;
    const key = `merge ${plan_id} ${step_id} ${round}`;
    effects.push({ do: 'merge', key, plan_id, step_id, round, session_id });
  }
  return effects;
}

function isMerged(session: StepSession | undefined): boolean {
  const outcome = session?.merge?.outcome;
  return session === undefined || session.merged_commit !== null || outcome === 'merged' || outcome === 'up_to_date';
}

/** A session that lives, and whose work nobody waits for. */
function whyNotWanted({ id, round, step_id, is_begun }: StepSession, row: StepRow): string | null {
  if (round < row.round) return `the step ${step_id} is tried again`;
  if (row.state === 'done' && row.session_id !== id) return `another attempt of the step ${step_id} was taken`;
  if (row.state === 'failed' && row.outcome === 'sling') return `the step ${step_id} has failed`;
  return row.ended_at !== null && is_begun === 0 ? STOPS_EARLY : null;
}

/** Of several good results the smallest is kept: none is judged before all that can be counted are. */
function isUncounted(scene: Scene, session: StepSession): boolean {
  const row = scene.rows.get(session.step_id);
  if (session.diff_lines !== null || session.state !== 'completed' || scene.memory.uncounted.has(session.id))
    return false;
  if (row === undefined || row.round !== session.round || row.ended_at !== null || row.session_id !== null)
    return false;
  return specOf(scene, row).attempts > 1;
}

/** The view with those that are still to be counted as if they were at it. */
export function withoutUncounted(scene: Scene, view: PlanView): PlanView {
  if (!view.sessions.some((session) => isUncounted(scene, session))) return view;
  const sessions = view.sessions.map((session) =>
    isUncounted(scene, session) ? { ...session, state: 'working' as const } : session,
  );
  return { ...view, sessions };
}
