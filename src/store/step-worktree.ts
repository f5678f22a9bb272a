import type { SlotStand } from '../model/plan-view.ts';
import type { Store, Tx } from './store.ts';

/** Of the session `t.session_id`, an attempt at the step `p`: nobody waits for it any more, its step has ended or is tried anew. */
const IS_JUDGED = '(p.ended_at IS NOT NULL OR p.round > t.round)';
/** The step of the session of `w`. */
const STEP_OF = `LEFT JOIN step_sessions AS t ON t.session_id = w.session_id
  LEFT JOIN plan_steps AS p ON p.plan_id = t.plan_id AND p.step_id = t.step_id`;

/**
 * Ended sessions with a worktree in a repository whose step of a plan has ended: their branch is all that is needed of them.
 * Steps that wait to be merged and attempts that are still to be judged are not among them.
 */
export async function sessionsOfEndedSteps(store: Store, repo_root: string): Promise<Set<string>> {
  const rows = await store.read((tx) =>
    tx.all<{ id: string }>(
      `SELECT w.session_id AS id FROM worktrees AS w JOIN sessions AS s ON s.id = w.session_id ${STEP_OF}
       WHERE w.repo_root = :repo_root AND s.ended_at IS NOT NULL AND ${IS_JUDGED}`,
      { repo_root },
    ),
  );
  return new Set(rows.map(({ id }) => id));
}

/** These worktrees were looked at while somebody waited for a slot, and have to stay as they are. */
export async function noteKept(store: Store, paths: readonly string[], now: number): Promise<void> {
  if (paths.length === 0) return;
  await store.write((tx) => {
    for (const path of paths) tx.run('UPDATE worktrees SET kept_at = :now WHERE path = :path', { path, now });
  });
}

/** A pool that opens only by a person's word. */
const SHUT = (name: string) =>
  `EXISTS (SELECT 1 FROM pools AS o WHERE o.name = ${name} AND o.state = 'blocked' AND o.opens_at IS NULL)`;

/** A live session that goes on only when a person acts. */
const STUCK = `((s.state = 'parked' AND s.resume_at IS NULL AND (s.parked_pool IS NULL OR ${SHUT('s.parked_pool')}))
  OR (s.state = 'queued' AND ${SHUT('s.pool')}))`;

/** All attempts of the step are over: its plan decides about it the next time it is looked at. */
const IS_DUE = `(p.ended_at IS NULL AND p.round = t.round AND p.session_id IS NULL AND p.spec_json ->> '$.attempts' <= (
  SELECT count(*) FROM step_sessions AS u JOIN sessions AS e ON e.id = u.session_id
  WHERE u.plan_id = t.plan_id AND u.step_id = t.step_id AND u.round = t.round AND e.ended_at IS NOT NULL))`;

/**
 * Counts what is held, and what may come free by itself: a removal is under way, a session is at work or rests until a time,
 * a merge is under way, or an ended one was not looked at since it could go (`noteKept`).
 */
export function slotStandIn(tx: Tx, repo_root: string): SlotStand {
  const row = tx.get<SlotStand>(
    `SELECT count(*) AS held, coalesce(sum(CASE
         WHEN w.removing_at IS NOT NULL THEN 1
         WHEN s.id IS NOT NULL AND s.ended_at IS NULL THEN NOT ${STUCK}
         WHEN p.state = 'merging' AND p.session_id = s.id THEN 1
         WHEN ${IS_DUE} THEN 1
         ELSE w.kept_at IS NULL OR w.kept_at < coalesce(s.ended_at, 0) OR w.kept_at < coalesce(p.ended_at, 0) END), 0) AS coming
     FROM worktrees AS w LEFT JOIN sessions AS s ON s.id = w.session_id ${STEP_OF}
     WHERE w.repo_root = :repo_root`,
    { repo_root },
  );
  return row ?? { held: 0, coming: 0 };
}
