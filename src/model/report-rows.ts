import type { BudgetRow } from './budget.ts';
import type { GateRunRow } from './gate-run.ts';
import type { HaltRow } from './halt.ts';
import type { IncidentRow } from './incident.ts';
import type { MailRow } from './mail.ts';
import type { MergeRow } from './merge.ts';
import type { PlanLogRow, PlanRow } from './plan.ts';
import type { StepRow, StepSessionRow } from './plan-step.ts';
import type { PoolRow } from './pool.ts';
import type { ScheduleRunRow } from './schedule.ts';
import type { SessionRow, SessionState } from './session.ts';
import type { TurnRow } from './turn.ts';
import type { VerdictRow } from './verdict.ts';

export type ReportSessionRow = Pick<
  SessionRow,
  | 'id'
  | 'name'
  | 'role'
  | 'harness'
  | 'task'
  | 'model'
  | 'profile_json'
  | 'pool'
  | 'repo_root'
  | 'branch'
  | 'base_branch'
  | 'worktree_path'
  | 'state'
  | 'end_reason'
  | 'parked_reason'
  | 'parked_evidence'
  | 'parked_pool'
  | 'resume_at'
  | 'parent_id'
  | 'next_turn_at'
  | 'turn'
  | 'merged_commit'
  | 'merged_at'
  | 'created_at'
  | 'updated_at'
  | 'ended_at'
> & {
  /** What its harness called the model; null: it did not say. */
  said_model: string | null;
};

export type ReportTurnRow = Pick<
  TurnRow,
  | 'session_id'
  | 'turn'
  | 'started_at'
  | 'ended_at'
  | 'outcome'
  | 'reason'
  | 'end_cause'
  | 'input_tokens'
  | 'output_tokens'
  | 'cache_read_tokens'
  | 'cache_write_tokens'
  | 'cost_micros'
  | 'is_cost_estimated'
>;

/** One line of `state_log`, as far as it says where a session was and why. */
export interface ReportStateRow {
  session_id: string;
  to_state: SessionState;
  event: string;
  reason: string | null;
  at: number;
}

export type ReportVerdictRow = Pick<
  VerdictRow,
  'session_id' | 'turn' | 'judged_by' | 'tier' | 'health' | 'cause' | 'act' | 'evidence' | 'at'
>;

/** A question to the operator that nobody has answered, of a session that lives. */
export type ReportQuestionRow = Pick<MailRow, 'id' | 'from_id' | 'subject' | 'created_at'>;

/** Everything the database knows of one run, at one instant. Each list is in the order in which things happened. */
export interface ReportRows {
  run: {
    id: string;
    name: string;
    status: 'active' | 'completed' | 'failed';
    started_at: number;
    completed_at: number | null;
  };
  /** Null: a run that no plan has started. */
  plan: PlanRow | null;
  /** By position. */
  steps: readonly StepRow[];
  step_sessions: readonly StepSessionRow[];
  plan_log: readonly PlanLogRow[];
  sessions: readonly ReportSessionRow[];
  turns: readonly ReportTurnRow[];
  states: readonly ReportStateRow[];
  merges: readonly Omit<MergeRow, 'output'>[];
  incidents: readonly IncidentRow[];
  gates: readonly Omit<GateRunRow, 'seq'>[];
  verdicts: readonly ReportVerdictRow[];
  questions: readonly ReportQuestionRow[];
  /** The halt that stands; null: none. */
  halt: HaltRow | null;
  /** Of the schedules that started it: what became of due times since they fired the time before. */
  schedule_runs: readonly (ScheduleRunRow & { schedule_name: string | null })[];
  /** Of the run, its sessions, their profiles, and of everything. */
  budgets: readonly BudgetRow[];
  /** Pools of its steps and sessions that somebody has said something of. */
  pools: readonly PoolRow[];
}
