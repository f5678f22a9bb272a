import type { MergeOutcome } from '../model/merge.ts';
import type { ExpandedStep, PlanRow } from '../model/plan.ts';
import type { StepRow } from '../model/plan-step.ts';
import type { PlanView, StepSession } from '../model/plan-view.ts';
import { WANTS_WORKTREE } from './startable.ts';
import { slotStandIn } from './step-worktree.ts';
import type { Store, Tx } from './store.ts';

type Joined = Omit<StepSession, 'merge' | 'result_text'> & {
  merge_seq: number | null;
  merge_outcome: MergeOutcome | null;
  merge_reason: string | null;
};

const SESSIONS = `SELECT t.step_id, t.round, t.slot, t.diff_lines, s.id, s.name, s.state, s.end_reason, s.parked_reason,
  s.parked_evidence, s.parked_pool, s.resume_at, s.pool, s.merged_commit, s.cost_micros, s.input_tokens,
  s.output_tokens,
  (SELECT u.outcome FROM turns AS u WHERE u.session_id = s.id AND u.ended_at IS NOT NULL ORDER BY u.turn DESC LIMIT 1) AS outcome,
  (s.state = 'queued' AND ${WANTS_WORKTREE} AND NOT EXISTS (SELECT 1 FROM worktrees AS w WHERE w.session_id = s.id)) AS wants_slot,
  (s.turn > 0 OR s.resume_count > 0 OR s.recovered_from IS NOT NULL) AS is_begun,
  m.seq AS merge_seq, m.outcome AS merge_outcome, m.reason AS merge_reason
  FROM step_sessions AS t JOIN sessions AS s ON s.id = t.session_id
  LEFT JOIN merges AS m ON m.seq = (SELECT max(l.seq) FROM merges AS l WHERE l.session_id = s.id AND l.reason IS NOT 'rebase')
  WHERE t.plan_id = :id ORDER BY t.step_id, t.round, t.slot`;

const SPENT = `SELECT sum(cost_micros) AS cost_micros, coalesce(sum(input_tokens + output_tokens), 0) AS tokens
  FROM sessions WHERE run_id = :run_id`;

/** A plan with its steps, its sessions and the pools that hold something back, in one snapshot. Null: unknown. */
export async function planView(store: Store, id: string): Promise<PlanView | null> {
  return store.read((tx) => {
    const plan = tx.get<PlanRow>('SELECT * FROM plans WHERE id = :id', { id });
    if (plan === null) return null;
    const steps = tx.all<StepRow>('SELECT * FROM plan_steps WHERE plan_id = :id ORDER BY position, child_no, step_id', {
      id,
    });
    const lists = listSessions(steps);
    const joined = tx.all<Joined>(SESSIONS, { id });
    return {
      plan,
      budget: tx.get<PlanView['budget']>("SELECT cost_micros, tokens FROM budgets WHERE scope = 'run' AND key = :key", {
        key: plan.run_id,
      }),
      steps,
      sessions: joined.map(({ merge_seq, merge_outcome, merge_reason, ...session }) => ({
        ...session,
        result_text: lists.has(session.id) ? answerIn(tx, session.id) : null,
        merge: merge_seq === null ? null : { outcome: merge_outcome, reason: merge_reason },
      })),
      spent: tx.get<PlanView['spent']>(SPENT, { run_id: plan.run_id }) ?? { cost_micros: null, tokens: 0 },
      slots: joined.some(({ wants_slot }) => wants_slot === 1) ? slotStandIn(tx, plan.repo_root) : null,
      pools: tx.all<PlanView['pools'][number]>(
        "SELECT name, state, opens_at, retry_at FROM pools WHERE state <> 'off' ORDER BY name",
      ),
    };
  });
}

/** Answers are long, and a plan has thousands: only those are read that a step waits for the list of. */
function listSessions(steps: readonly StepRow[]): Set<string> {
  const wanted = new Set(
    steps
      .filter(({ kind, state }) => kind === 'group' && state === 'pending')
      .map(({ spec_json }) => (JSON.parse(spec_json) as ExpandedStep).foreach?.step),
  );
  const found = wanted.size === 0 ? [] : steps.filter(({ step_id }) => wanted.has(step_id));
  return new Set(found.map(({ session_id }) => session_id).filter((id) => id !== null));
}

function answerIn(tx: Tx, id: string): string | null {
  return (
    tx.get<{ result_text: string | null }>('SELECT result_text FROM sessions WHERE id = :id', { id })?.result_text ??
    null
  );
}

/** The final answer of a session; null when it gave none. */
export async function answerOf(store: Store, session_id: string): Promise<string | null> {
  return store.read((tx) => answerIn(tx, session_id));
}
