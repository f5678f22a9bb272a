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
  is_at_rest: 0 | 1;
};

const SESSIONS = `SELECT t.step_id, t.round, t.slot, t.diff_lines, s.id, s.name, s.state, s.end_reason, s.parked_reason,
  s.parked_evidence, s.parked_pool, s.resume_at, s.pool, s.merged_commit, s.cost_micros, s.input_tokens,
  s.output_tokens,
  s.ended_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM turns AS o WHERE o.session_id = s.id AND o.ended_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM merges AS o WHERE o.session_id = s.id AND o.ended_at IS NULL) AS is_at_rest,
  (SELECT u.outcome FROM turns AS u WHERE u.session_id = s.id AND u.ended_at IS NOT NULL ORDER BY u.turn DESC LIMIT 1) AS outcome,
  (s.state = 'queued' AND ${WANTS_WORKTREE} AND NOT EXISTS (SELECT 1 FROM worktrees AS w WHERE w.session_id = s.id)) AS wants_slot,
  (s.turn > 0 OR s.resume_count > 0 OR s.recovered_from IS NOT NULL) AS is_begun,
  m.seq AS merge_seq, m.outcome AS merge_outcome, m.reason AS merge_reason
  FROM step_sessions AS t JOIN sessions AS s ON s.id = t.session_id
  LEFT JOIN merges AS m ON m.seq = (SELECT max(l.seq) FROM merges AS l WHERE l.session_id = s.id AND l.reason IS NOT 'rebase')
  WHERE t.plan_id = :id`;

/**
 * What was read of a plan before: most steps of a long one wait or have ended, and neither changes but by a line in one of
 * the logs, or by an attempt to merge. What may change without one (a step at work, a session that is not at rest) is read
 * again at every look. How much an attempt of an ended step has changed is not asked any more.
 */
export interface PlanSight {
  /** Of the two logs and the merges, up to here; null: nothing was read yet. */
  seen: { plan_seq: number; state_seq: number; merge_seq: number } | null;
  /** In their order. */
  steps: Map<string, StepRow>;
  /** By step, then by round and slot. */
  sessions: Map<string, readonly StepSession[]>;
  step_of: Map<string, string>;
  /** Steps that are read at every look. */
  moving: Set<string>;
}

export function newSight(): PlanSight {
  return { seen: null, steps: new Map(), sessions: new Map(), step_of: new Map(), moving: new Set() };
}

const SPENT = `SELECT sum(cost_micros) AS cost_micros, coalesce(sum(input_tokens + output_tokens), 0) AS tokens
  FROM sessions WHERE run_id = :run_id`;

/** A plan with its steps, its sessions and the pools that hold something back, in one snapshot. Null: unknown. */
export async function planView(store: Store, id: string, sight: PlanSight = newSight()): Promise<PlanView | null> {
  return store.read((tx) => {
    const plan = tx.get<PlanRow>('SELECT * FROM plans WHERE id = :id', { id });
    if (plan === null) return null;
    lookAgain(tx, plan, sight);
    const steps = [...sight.steps.values()];
    const lists = listSessions(steps);
    const sessions = [...sight.sessions.values()]
      .flat()
      .map((session) => (lists.has(session.id) ? { ...session, result_text: answerIn(tx, session.id) } : session));
    return {
      plan,
      budget: tx.get<PlanView['budget']>("SELECT cost_micros, tokens FROM budgets WHERE scope = 'run' AND key = :key", {
        key: plan.run_id,
      }),
      steps,
      sessions,
      spent: tx.get<PlanView['spent']>(SPENT, { run_id: plan.run_id }) ?? { cost_micros: null, tokens: 0 },
      slots: sessions.some(({ wants_slot }) => wants_slot === 1) ? slotStandIn(tx, plan.repo_root) : null,
      pools: tx.all<PlanView['pools'][number]>(
        "SELECT name, state, opens_at, retry_at FROM pools WHERE state <> 'off' ORDER BY name",
      ),
    };
  });
}

/** Brings a sight up to date: by what has changed, or, where steps have come or all have ended at once, by everything. */
function lookAgain(tx: Tx, { id, ended_at }: PlanRow, sight: PlanSight): void {
  const before = sight.seen;
  const seen = {
    plan_seq: lastSeq(tx, 'SELECT seq FROM plan_log ORDER BY seq DESC LIMIT 1'),
    state_seq: lastSeq(tx, 'SELECT seq FROM state_log ORDER BY seq DESC LIMIT 1'),
    merge_seq: lastSeq(tx, 'SELECT seq FROM merges ORDER BY seq DESC LIMIT 1'),
  };
  const lines =
    before === null
      ? null
      : tx.all<{ step_id: string; event: string }>(
          'SELECT DISTINCT step_id, event FROM plan_log WHERE plan_id = :id AND seq > :plan_seq AND step_id IS NOT NULL',
          { id, plan_seq: before.plan_seq },
        );
  // What throws leaves a sight that knows nothing.
  sight.seen = null;
  const hasMore = lines === null || ended_at !== null || lines.some(({ event }) => event === 'fanned_out');
  if (before === null || hasMore) readAll(tx, id, sight);
  else readSteps(tx, id, sight, [...lines.map(({ step_id }) => step_id), ...movedSteps(tx, sight, before)]);
  sight.seen = seen;
}

function lastSeq(tx: Tx, sql: string): number {
  return tx.get<{ seq: number }>(sql)?.seq ?? 0;
}

function readAll(tx: Tx, id: string, sight: PlanSight): void {
  const steps = tx.all<StepRow>('SELECT * FROM plan_steps WHERE plan_id = :id ORDER BY position, child_no, step_id', {
    id,
  });
  sight.steps = new Map(steps.map((row) => [row.step_id, row]));
  const found = tx.all<Joined>(`${SESSIONS} ORDER BY t.step_id, t.round, t.slot`, { id });
  const byStep = Map.groupBy(found, ({ step_id }) => step_id);
  for (const known of [sight.sessions, sight.step_of, sight.moving]) known.clear();
  for (const row of steps) keep(sight, row, byStep.get(row.step_id) ?? []);
}

/** Steps of the sessions that somebody has moved or begun to merge since, were they at rest before. */
function movedSteps(tx: Tx, { step_of }: PlanSight, since: NonNullable<PlanSight['seen']>): string[] {
  const moved = tx.all<{ session_id: string }>(
    `SELECT session_id FROM state_log WHERE seq > :state_seq UNION SELECT session_id FROM merges WHERE seq > :merge_seq`,
    { state_seq: since.state_seq, merge_seq: since.merge_seq },
  );
  return moved.flatMap(({ session_id }) => step_of.get(session_id) ?? []);
}

function readSteps(tx: Tx, id: string, sight: PlanSight, changed: readonly string[]): void {
  for (const step_id of new Set([...changed, ...sight.moving])) {
    const row = tx.get<StepRow>('SELECT * FROM plan_steps WHERE plan_id = :id AND step_id = :step_id', { id, step_id });
    if (row === null) throw new Error(`the step ${step_id} of ${id} is gone`);
    sight.steps.set(step_id, row);
    keep(sight, row, tx.all<Joined>(`${SESSIONS} AND t.step_id = :step_id ORDER BY t.round, t.slot`, { id, step_id }));
  }
}

function keep(sight: PlanSight, { step_id, state, ended_at }: StepRow, found: readonly Joined[]): void {
  const isStill = (state === 'pending' || ended_at !== null) && found.every(({ is_at_rest }) => is_at_rest === 1);
  if (isStill) sight.moving.delete(step_id);
  else sight.moving.add(step_id);
  if (found.length === 0) return;
  const sessions = found.map(({ merge_seq, merge_outcome, merge_reason, is_at_rest: _rest, ...session }) => ({
    ...session,
    result_text: null,
    merge: merge_seq === null ? null : { outcome: merge_outcome, reason: merge_reason },
  }));
  sight.sessions.set(step_id, sessions);
  for (const session of sessions) sight.step_of.set(session.id, step_id);
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
