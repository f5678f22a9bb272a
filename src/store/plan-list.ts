import { OPERATOR } from '../model/mail.ts';
import type { PlanLogRow, PlanRow } from '../model/plan.ts';
import type { LiveSession } from '../model/plan-stand.ts';
import type { Store } from './store.ts';

/** A plan with what its steps have come to. A group is its members, as soon as it has any. */
export interface PlanSummary extends PlanRow {
  step_count: number;
  done_count: number;
  failed_count: number;
  running_count: number;
  parked_count: number;
  /** Null: no session of it has said. */
  cost_micros: number | null;
}

/** Newest first. Without `all`: those that have not ended, and the newest others; `repo_root` null: of all repositories. */
export async function listPlanSummaries(
  store: Store,
  filter: { repo_root: string | null; limit: number },
): Promise<PlanSummary[]> {
  const { repo_root, limit } = filter;
  const where = repo_root === null ? '' : 'WHERE repo_root = :repo_root';
  return store.read((tx) =>
    tx.all<PlanSummary>(
      `WITH some AS (SELECT * FROM plans ${where} ORDER BY (ended_at IS NULL) DESC, created_at DESC, id LIMIT :limit)
       SELECT some.*, coalesce(c.step_count, 0) AS step_count, coalesce(c.done_count, 0) AS done_count,
         coalesce(c.failed_count, 0) AS failed_count, coalesce(c.running_count, 0) AS running_count,
         coalesce(c.parked_count, 0) AS parked_count,
         (SELECT sum(s.cost_micros) FROM sessions AS s WHERE s.run_id = some.run_id) AS cost_micros
       FROM some LEFT JOIN (
         SELECT plan_id, count(*) AS step_count, sum(state = 'done') AS done_count,
           sum(state = 'failed') AS failed_count, sum(state IN ('running', 'merging')) AS running_count,
           sum(state = 'parked') AS parked_count
         FROM plan_steps WHERE plan_id IN (SELECT id FROM some) AND (plan_id, step_id) NOT IN
           (SELECT plan_id, group_id FROM plan_steps WHERE group_id IS NOT NULL AND plan_id IN (SELECT id FROM some))
         GROUP BY plan_id
       ) AS c ON c.plan_id = some.id ORDER BY some.created_at DESC, some.id`,
      { limit, ...(repo_root === null ? {} : { repo_root }) },
    ),
  );
}

/** What happened to a plan and its steps after the line `after_seq`, oldest first. */
export async function planLogAfter(store: Store, plan_id: string, after_seq: number): Promise<PlanLogRow[]> {
  return store.read((tx) =>
    tx.all<PlanLogRow>('SELECT * FROM plan_log WHERE plan_id = :plan_id AND seq > :after_seq ORDER BY seq', {
      plan_id,
      after_seq,
    }),
  );
}

/** Every session of a run that has not ended, with the step it works on and whether a person owes it an answer. */
export async function liveSessions(store: Store, run_id: string): Promise<LiveSession[]> {
  const rows = await store.read((tx) =>
    tx.all<Omit<LiveSession, 'is_asking'> & { is_asking: number }>(
      `SELECT s.id, s.state, s.resume_at, s.parked_pool, s.parent_id, s.next_turn_at, s.turn,
         (SELECT t.step_id FROM step_sessions AS t WHERE t.session_id = s.id) AS step_id,
         EXISTS (SELECT 1 FROM mail AS q WHERE q.from_id = s.id AND q.type IN ('question', 'decision_gate')
           AND q.to_id IS NULL AND q.to_name = :operator AND NOT EXISTS (
             SELECT 1 FROM mail AS a WHERE a.thread_id = q.thread_id AND a.to_id = s.id AND a.seq > q.seq)) AS is_asking
       FROM sessions AS s WHERE s.run_id = :run_id AND s.ended_at IS NULL ORDER BY s.created_at, s.id`,
      { run_id, operator: OPERATOR },
    ),
  );
  return rows.map((row) => ({ ...row, is_asking: row.is_asking === 1 }));
}
