/** A step that is not to begin once its plan stops early: after a failure, those that were written for one still come. */
const LEFT_OUT = `(plan.stopping <> 'on_failure' OR EXISTS (SELECT 1 FROM plan_steps AS own WHERE own.plan_id = held.plan_id
  AND own.step_id = held.step_id AND own.spec_json ->> '$.when' = 'all_ok'))`;

/**
 * The plan that the session `s` is of lets nothing new start now: it is paused, its window is closed, or it stops early, in
 * which case only a person's word lets it begin. Who has had a turn goes on.
 */
export const HELD_BY_PLAN = `(s.turn = 0 AND EXISTS (SELECT 1 FROM step_sessions AS held JOIN plans AS plan ON plan.id = held.plan_id
  WHERE held.session_id = s.id AND ((plan.ended_at IS NULL AND (plan.is_window_open = 0 OR plan.state = 'paused'))
    OR (plan.stopping IS NOT NULL AND s.resume_count = 0 AND s.recovered_from IS NULL AND ${LEFT_OUT}))))`;

/**
 * Nothing but a slot keeps the session `s` from its next turn: no back-off runs, its plan lets it begin, its pool is open to it, and it is
 * not tried again while everything is halted. Needs `:now`.
 * What `mayStart` says, for many sessions at once.
 */
export const STARTABLE = `(s.next_turn_at IS NULL OR s.next_turn_at <= :now) AND NOT EXISTS (SELECT 1 FROM pools AS p WHERE p.name = s.pool AND
  (p.state = 'blocked' OR (p.state = 'probing' AND p.probe_id <> s.id) OR (p.state = 'open' AND p.retry_at > :now))) AND NOT ${HELD_BY_PLAN}
  AND NOT (s.attempt > 0 AND EXISTS (SELECT 1 FROM halts WHERE lifted_at IS NULL))`;

/** The session `s` asked for a worktree and has none yet; it may have a slot for one. */
export const WANTS_WORKTREE = 's.branch IS NOT NULL AND s.base_ref IS NOT NULL AND s.worktree_path IS NULL';
