import type { BudgetRow } from '../model/budget.ts';
import type { IncidentRow } from '../model/incident.ts';
import { OPERATOR, SYSTEM } from '../model/mail.ts';
import type { PlanLogRow, PlanRow } from '../model/plan.ts';
import type { StepRow, StepSessionRow } from '../model/plan-step.ts';
import type { PoolRow } from '../model/pool.ts';
import type {
  ReportQuestionRow,
  ReportRows,
  ReportSessionRow,
  ReportStateRow,
  ReportTurnRow,
  ReportVerdictRow,
} from '../model/report-rows.ts';
import { standingHaltIn } from './halted.ts';
import { insertMail, type MailDraft } from './mail.ts';
import { markReportedIn } from './plan.ts';
import type { Store, Tx } from './store.ts';

/** Where a session is one of the run's. `:run_id` is bound. */
const OF_RUN = 'IN (SELECT id FROM sessions WHERE run_id = :run_id)';

/** What its stream has called the model, in the first events of its life. */
const SAID_MODEL = `(SELECT e.value ->> '$[3].model'
  FROM (SELECT events_json FROM event_batches WHERE session_id = sessions.id ORDER BY seq LIMIT 50) AS b, json_each(b.events_json) AS e
  WHERE b.events_json LIKE '%["session",%' AND e.value ->> 0 = 'session' AND e.value ->> '$[3].model' IS NOT NULL LIMIT 1)`;

const SESSIONS = `SELECT id, name, role, harness, task, model, profile_json, pool, repo_root, branch, base_branch,
  worktree_path, state, end_reason, parked_reason, parked_evidence, parked_pool, resume_at, parent_id, next_turn_at, turn,
  merged_commit, merged_at, created_at, updated_at, ended_at, ${SAID_MODEL} AS said_model FROM sessions WHERE run_id = :run_id ORDER BY created_at, id`;

const TURNS = `SELECT session_id, turn, started_at, ended_at, outcome, reason, end_cause, input_tokens, output_tokens,
  cache_read_tokens, cache_write_tokens, cost_micros, is_cost_estimated FROM turns WHERE session_id ${OF_RUN}
  ORDER BY started_at, session_id, turn`;

const MERGES = `SELECT seq, session_id, repo_root, branch, target, head, base_head, started_at, ended_at, outcome,
  merged_commit, reason, missing_json FROM merges WHERE session_id ${OF_RUN} AND reason IS NOT 'rebase' ORDER BY seq`;

const VERDICTS = `SELECT session_id, turn, judged_by, tier, health, cause, act, evidence, at FROM verdicts
  WHERE session_id ${OF_RUN} AND act IN ('nudge', 'restart', 'terminate', 'end') ORDER BY seq`;

const QUESTIONS = `SELECT q.id, q.from_id, q.subject, q.created_at FROM sessions AS s JOIN mail AS q ON q.from_id = s.id
  WHERE s.run_id = :run_id AND s.ended_at IS NULL AND q.type IN ('question', 'decision_gate')
    AND q.to_id IS NULL AND q.to_name = :operator
    AND NOT EXISTS (SELECT 1 FROM mail AS a WHERE a.thread_id = q.thread_id AND a.to_id = s.id AND a.seq > q.seq)
  ORDER BY q.seq`;

/** Due times of its schedules that came to nothing, since the time before that did not. */
const SCHEDULE_RUNS = `WITH mine AS (
    SELECT schedule_id, max(due_at) AS due_at FROM schedule_runs
    WHERE state = 'fired' AND (plan_id = :plan_id OR session_id ${OF_RUN}) GROUP BY schedule_id)
  SELECT r.*, s.name AS schedule_name FROM mine JOIN schedule_runs AS r ON r.schedule_id = mine.schedule_id
  LEFT JOIN schedules AS s ON s.id = r.schedule_id
  WHERE r.at <= :until AND r.state IN ('skipped', 'missed', 'failed') AND r.due_at > coalesce((
    SELECT max(b.due_at) FROM schedule_runs AS b
    WHERE b.schedule_id = mine.schedule_id AND b.state = 'fired' AND b.due_at < mine.due_at), 0)
  ORDER BY r.due_at, r.schedule_id`;

const BUDGETS = `SELECT * FROM budgets WHERE (scope = 'run' AND key = :run_id) OR (scope = 'session' AND key ${OF_RUN})
  OR scope = 'global' OR (scope = 'profile' AND key IN (SELECT profile_name FROM sessions WHERE run_id = :run_id))
  ORDER BY scope, key`;

const POOLS = `SELECT * FROM pools WHERE name IN (SELECT pool FROM sessions WHERE run_id = :run_id)
  OR name IN (SELECT parked_pool FROM sessions WHERE run_id = :run_id AND parked_pool IS NOT NULL)
  OR name IN (SELECT pool FROM plan_steps WHERE plan_id = :plan_id) ORDER BY name`;

/** Everything a report needs to know of one run, in one snapshot. Null: there is no such run. */
export async function reportRows(store: Store, run_id: string): Promise<ReportRows | null> {
  return store.read((tx) => {
    const run = tx.get<ReportRows['run']>(
      'SELECT id, name, status, started_at, completed_at FROM runs WHERE id = :run_id',
      { run_id },
    );
    if (run === null) return null;
    const plan = tx.get<PlanRow>('SELECT * FROM plans WHERE run_id = :run_id', { run_id });
    const until = plan?.ended_at ?? run.completed_at ?? Number.MAX_SAFE_INTEGER;
    const plan_id = plan?.id ?? '';
    return { run, plan, ...planPart(tx, plan_id), ...sessionPart(tx, run_id), ...aroundIt(tx, run_id, plan_id, until) };
  });
}

function planPart(tx: Tx, plan_id: string): Pick<ReportRows, 'steps' | 'step_sessions' | 'plan_log'> {
  const of = (what: string) => `SELECT * FROM ${what}`;
  return {
    steps: tx.all<StepRow>(of('plan_steps WHERE plan_id = :plan_id ORDER BY position, child_no, step_id'), { plan_id }),
    step_sessions: tx.all<StepSessionRow>(of('step_sessions WHERE plan_id = :plan_id ORDER BY step_id, round, slot'), {
      plan_id,
    }),
    plan_log: tx.all<PlanLogRow>(of('plan_log WHERE plan_id = :plan_id ORDER BY seq'), { plan_id }),
  };
}

function sessionPart(
  tx: Tx,
  run_id: string,
): Pick<ReportRows, 'sessions' | 'turns' | 'states' | 'merges' | 'gates' | 'verdicts' | 'questions'> {
  return {
    sessions: tx.all<ReportSessionRow>(SESSIONS, { run_id }),
    turns: tx.all<ReportTurnRow>(TURNS, { run_id }),
    states: tx.all<ReportStateRow>(
      `SELECT session_id, to_state, event, reason, at FROM state_log WHERE session_id ${OF_RUN} ORDER BY seq`,
      { run_id },
    ),
    merges: tx.all<ReportRows['merges'][number]>(MERGES, { run_id }),
    gates: tx.all<ReportRows['gates'][number]>(
      `SELECT session_id, turn, round, verdict, command, reason, output, started_at, ended_at FROM gate_runs
       WHERE session_id ${OF_RUN} ORDER BY seq`,
      { run_id },
    ),
    verdicts: tx.all<ReportVerdictRow>(VERDICTS, { run_id }),
    questions: tx.all<ReportQuestionRow>(QUESTIONS, { run_id, operator: OPERATOR }),
  };
}

function aroundIt(
  tx: Tx,
  run_id: string,
  plan_id: string,
  until: number,
): Pick<ReportRows, 'halt' | 'incidents' | 'schedule_runs' | 'budgets' | 'pools'> {
  return {
    halt: standingHaltIn(tx),
    incidents: tx.all<IncidentRow>(
      `SELECT * FROM incidents WHERE first_session_id ${OF_RUN} OR second_session_id ${OF_RUN} ORDER BY created_at, id`,
      { run_id },
    ),
    schedule_runs: tx.all<ReportRows['schedule_runs'][number]>(SCHEDULE_RUNS, { run_id, plan_id, until }),
    budgets: tx.all<BudgetRow>(BUDGETS, { run_id }),
    pools: tx.all<PoolRow>(POOLS, { run_id, plan_id }),
  };
}

/** Ids of plans that have ended and whose report was not told of yet, oldest first. */
export async function unreportedPlans(store: Store): Promise<string[]> {
  const rows = await store.read((tx) =>
    tx.all<{ id: string }>(
      'SELECT id FROM plans WHERE ended_at IS NOT NULL AND reported_at IS NULL ORDER BY ended_at, id LIMIT 1000',
    ),
  );
  return rows.map(({ id }) => id);
}

/**
 * Notes that the report of an ended plan was written and mails it to the operator, in one transaction: told once, whoever
 * dies in between (I17). False: somebody has told of it before, or the plan has not ended.
 */
export async function tellReport(
  store: Store,
  input: { plan_id: string; mail: Omit<MailDraft, 'from_name' | 'from_id' | 'to_name' | 'to_id'>; now: number },
): Promise<boolean> {
  const { plan_id, mail, now } = input;
  return store.write((tx) => {
    if (!markReportedIn(tx, plan_id, now)) return false;
    insertMail(tx, { from_name: SYSTEM, from_id: null, to_name: OPERATOR, to_id: null, ...mail }, now);
    return true;
  });
}
