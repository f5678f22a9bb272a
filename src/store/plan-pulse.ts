import type { Store } from './store.ts';

/** Events of a session that no plan asks about: it lived before and lives after. */
const STEADY = "'sling','claim_first','claim_next','first_event','stall','progress','rest'";

/**
 * A text that is another one as soon as anything has happened that a plan may have to act upon: a session was parked,
 * ended or brought back, a merge was begun or ended, a pool, a budget or a plan was changed, no worktree could make room. What plans do to their own
 * steps, and what a session says or spends, does not show.
 */
export async function planPulse(store: Store): Promise<string> {
  return store.read((tx) => {
    const marks = tx.get<Record<string, number | string | null>>(
      `SELECT (SELECT seq FROM state_log WHERE event NOT IN (${STEADY}) ORDER BY seq DESC LIMIT 1) AS sessions,
         (SELECT seq FROM plan_log WHERE step_id IS NULL ORDER BY seq DESC LIMIT 1) AS plans,
         (SELECT CASE WHEN max(kept_at) IS NOT NULL THEN count(*) || ' ' || max(kept_at) END FROM worktrees) AS slots,
         (SELECT max(seq) FROM merges) AS merges, (SELECT count(*) FROM merges WHERE ended_at IS NULL) AS merging,
         (SELECT group_concat(name || ' ' || state || ' ' || coalesce(opens_at, 0) || ' ' || coalesce(retry_at, 0)) FROM pools) AS pools,
         (SELECT group_concat(pool || ' ' || kind || ' ' || share_left || ' ' || coalesce(resets_at, told_at)) FROM pool_quotas) AS quotas`,
    );
    return JSON.stringify(marks);
  });
}

/** What the run of a plan may spend and has spent, for a plan whose course depends on it. */
export async function spendingPulse(store: Store, run_id: string): Promise<string> {
  return store.read((tx) =>
    JSON.stringify(
      tx.get(
        `SELECT coalesce(sum(cost_micros), 0) AS cost, coalesce(sum(input_tokens + output_tokens), 0) AS tokens,
           (SELECT updated_at || ' ' || raised_count FROM budgets WHERE scope = 'run' AND key = :run_id) AS budget
         FROM sessions WHERE run_id = :run_id`,
        { run_id },
      ),
    ),
  );
}
