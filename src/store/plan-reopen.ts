import type { StepRow } from '../model/plan-step.ts';
import { freeRunName, logIn } from './plan.ts';

import type { Store, Tx } from './store.ts';

/** A step that has ended, taken up again because a session of it goes on. */
export interface TakenUp {
  plan_id: string;
  plan_name: string;
  step_id: string;
  /** The plan had ended. */
  is_reopened: boolean;
}

type TryKey = Pick<StepRow, 'plan_id' | 'step_id' | 'round'>;

interface Found extends TryKey {
  name: string;
  run_id: string;
  ended_at: number | null;
  stopping: string | null;
}

/**
 * A plan that came to its end by itself, and not because of a bug of ours: with one of its steps it may go on. What a
 * person has cancelled stays so.
 */
const MAY_GO_ON = `(plan.ended_at IS NULL OR (plan.state = 'failed' AND coalesce(plan.reason, '') NOT GLOB 'internal: *'))`;

/** The step of a session whose last try came to nothing, or was called off before it began. */
const FAILED_TRY = `SELECT t.plan_id, t.step_id, t.round, plan.name, plan.run_id, plan.ended_at, plan.stopping
  FROM step_sessions AS t JOIN plans AS plan ON plan.id = t.plan_id
  JOIN plan_steps AS p ON p.plan_id = t.plan_id AND p.step_id = t.step_id AND p.round = t.round
  WHERE t.session_id = :session_id AND p.kind = 'task' AND ${MAY_GO_ON}
    AND ((p.state = 'failed' AND p.outcome IS NOT 'sling') OR (p.state = 'skipped' AND p.outcome = 'stopped'))`;

/**
 * For use inside the transaction that resumes `session`: a failed step goes on with it, and a plan that has ended is open
 * again; steps that were left out because of that failure come back by themselves (`advance`). A stop because of failures
 * is lifted; it comes again if there are still enough of them. `by_person`: only a person's word opens a plan that has ended.
 * Null: it is no session of a step that has failed.
 */
export function takeUpStepIn(
  tx: Tx,
  input: { session: { id: string; name: string }; by_person: boolean; now: number },
): TakenUp | null {
  const { session, by_person, now } = input;
  const found = tx.get<Found>(FAILED_TRY, { session_id: session.id });
  if (found === null || (found.ended_at !== null && !by_person)) return null;
  goOn(tx, found, `${session.name} (${session.id})`, 0, now);
  return told(found);
}

/**
 * The same for the successor of a session of a step without other attempts: it is the step's next try. For use inside the
 * transaction that stores it.
 */
export function handOverStepIn(
  tx: Tx,
  input: { from_id: string; heir: { id: string; name: string }; by_person: boolean; now: number },
): TakenUp | null {
  const { from_id, heir, by_person, now } = input;
  const found = tx.get<Found>(`${FAILED_TRY} AND p.spec_json ->> '$.attempts' = 1`, { session_id: from_id });
  if (found === null || (found.ended_at !== null && !by_person)) return null;
  goOn(tx, found, `${heir.name} (${heir.id})`, 1, now);
  tx.run(
    `INSERT INTO step_sessions (plan_id, step_id, round, slot, session_id, created_at)
     VALUES (:plan_id, :step_id, :round, 1, :session_id, :now)`,
    { plan_id: found.plan_id, step_id: found.step_id, round: found.round + 1, session_id: heir.id, now },
  );
  return told(found);
}

function told({ plan_id, name, step_id, ended_at }: Found): TakenUp {
  return { plan_id, plan_name: name, step_id, is_reopened: ended_at !== null };
}

function goOn(tx: Tx, found: Found, detail: string, rounds: 0 | 1, now: number): void {
  const { plan_id, step_id } = found;
  tx.run(
    `UPDATE plan_steps SET state = 'running', round = round + :rounds, outcome = NULL, reason = NULL, ended_at = NULL,
       not_before_at = NULL, session_id = NULL, outputs_json = NULL
     WHERE plan_id = :plan_id AND step_id = :step_id`,
    { plan_id, step_id, rounds },
  );
  logIn(tx, { plan_id, step_id, event: 'reopened', detail, at: now });
  openPlan(tx, found, now);
}

function openPlan(tx: Tx, { plan_id, step_id, name, run_id, ended_at, stopping }: Found, now: number): void {
  const isLifted = stopping === 'on_failure' || stopping === 'failed_steps';
  if (ended_at === null && !isLifted) return;
  tx.run(
    `UPDATE plans SET state = CASE WHEN ended_at IS NULL THEN state ELSE 'active' END, reason = NULL, ended_at = NULL,
       reported_at = NULL, stopping = :stopping, updated_at = :now WHERE id = :plan_id`,
    { plan_id, stopping: isLifted ? null : stopping, now },
  );
  logIn(tx, { plan_id, step_id: null, event: 'reopened', detail: step_id, at: now });
  if (ended_at === null) return;
  tx.run(
    "UPDATE runs SET status = 'active', completed_at = NULL, name = :name WHERE id = :run_id AND status <> 'active'",
    { run_id, name: freeRunName(tx, name) },
  );
}

/**
 * A step that was left out, or the group of one that goes on, waits again: what it was left out for is no more. One that was
 * slung before has another try, so that it can be slung again. Null: somebody was first.
 */
export async function reopenStep(store: Store, key: TryKey & { now: number }): Promise<StepRow | null> {
  const { now, ...at } = key;
  return store.write((tx) => {
    const row = tx.get<StepRow>(
      `UPDATE plan_steps AS p SET state = CASE WHEN kind = 'group' AND started_at IS NOT NULL THEN 'running' ELSE 'pending' END,
         round = round + EXISTS (SELECT 1 FROM step_sessions AS t WHERE t.plan_id = p.plan_id AND t.step_id = p.step_id AND t.round = p.round),
         outcome = NULL, reason = NULL, ended_at = NULL, not_before_at = NULL, session_id = NULL, outputs_json = NULL
       WHERE plan_id = :plan_id AND step_id = :step_id AND round = :round
         AND (state = 'skipped' OR (state = 'failed' AND kind = 'group' AND outcome = 'group'))
         AND EXISTS (SELECT 1 FROM plans WHERE id = :plan_id AND ended_at IS NULL)
       RETURNING *`,
      at,
    );
    if (row !== null) logIn(tx, { plan_id: at.plan_id, step_id: at.step_id, event: 'reopened', detail: null, at: now });
    return row;
  });
}
