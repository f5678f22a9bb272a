import type { IncidentKind } from './incident.ts';
import type { MergeOutcome } from './merge.ts';
import type { MergeMode, PlanState, PlanWindow, StopWhen } from './plan.ts';
import type { StepOutcome, StepState } from './plan-step.ts';
import type { ScheduleRunState } from './schedule.ts';
import type { SessionState } from './session.ts';
import type { EndCause, Outcome } from './turn.ts';
import type { VerdictRow } from './verdict.ts';

/** It grows when a field of `Report` changes its meaning or goes. */
export const REPORT_SCHEMA = 1;

/** `parked`: nothing goes on before a person acts. `failed`: also what was cancelled or stopped early. */
export type ReportVerdict = 'done' | 'failed' | 'parked' | 'running';

/** Tokens and money of some turns. Money is micro-dollars. */
export interface Spent {
  /** What is known; null: of no turn that used tokens is it known. 0: no tokens were used. */
  cost_micros: number | null;
  /** A part of it comes from a table of prices. */
  is_estimated: boolean;
  /** Turns that used tokens and of which nobody knows what they cost, and these tokens (in and out). */
  unpriced_turns: number;
  unpriced_tokens: number;
  turns: number;
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
}

export interface ReportGate {
  session_id: string;
  session_name: string;
  turn: number;
  round: number;
  verdict: 'green' | 'red';
  command: string | null;
  reason: string | null;
  /** End of what it printed; of red ones only. */
  output: string | null;
  took_ms: number;
  at: number;
}

export interface ReportStep {
  id: string;
  kind: 'task' | 'group';
  group_id: string | null;
  state: StepState;
  outcome: StepOutcome | null;
  reason: string | null;
  /** Rounds that were begun; 0: it never started. */
  tries: number;
  /** Items of its list beyond the cap, which nobody worked on. */
  dropped: number;
  started_at: number | null;
  ended_at: number | null;
  /** Until now while it goes on; null: it never started. */
  took_ms: number | null;
  spent: Spent;
  /** What becomes of the branch of the session whose work counts. */
  merge: MergeMode;
  branch: string | null;
  sessions: { id: string; name: string; round: number; slot: number; state: SessionState; is_chosen: boolean }[];
  /** `red`, `green`, one after the other, of the session whose work counts, else of all. */
  gates: ('red' | 'green')[];
  merged_commit: string | null;
}

/** Something that does not go on by itself, or goes on at a time, with the commands that move it. */
export interface Waiting {
  /** `plan`, `step` (its session has ended, its merge was refused) or `session`. */
  kind: 'plan' | 'step' | 'session';
  name: string;
  session_id: string | null;
  step_id: string | null;
  reason: string;
  /** What it was told, in words of others. */
  evidence: string | null;
  since_at: number | null;
  /** When it goes on without anybody; null: it does not, or nobody knows when. */
  resumes_at: number | null;
  by_itself: boolean;
  /** In this order; each is a whole line for a shell. */
  commands: string[];
  /** Whose commands above move this one on as well; it has none of its own then. */
  goes_on_with: string | null;
}

export interface ReportMerge {
  session_id: string;
  session_name: string;
  step_id: string | null;
  branch: string;
  target: string;
  outcome: MergeOutcome | null;
  commit: string | null;
  reason: string | null;
  /** Added lines of its branch that the result does not have. */
  missing: { path: string; line: string }[];
  at: number;
}

export interface ReportKill {
  session_id: string;
  session_name: string;
  step_id: string | null;
  turn: number;
  /** `supervisor`: a timer of the turn's own. */
  by: VerdictRow['judged_by'];
  cause: string | null;
  act: VerdictRow['act'];
  end_cause: EndCause | null;
  evidence: string;
  outcome: Outcome | null;
  at: number;
}

export interface LostTime {
  pool: string;
  /**
   * Sessions that waited, and times one began to. A step that could start and was held back counts as one more that waits,
   * although nothing was slung for it yet.
   */
  sessions: number;
  times: number;
  /** Of all of them together, and by the clock on the wall: an hour in which four waited is 4 h and 1 h. */
  session_ms: number;
  wall_ms: number;
}

/** What a session was at, as people see it. */
export type SpanState = 'queued' | 'working' | 'idle' | 'parked';

export interface TimelineRow {
  session_id: string;
  name: string;
  step_id: string | null;
  state: SessionState;
  spans: { state: SpanState; from_at: number; to_at: number }[];
}

/** One run, as the database tells it. `_at` are wall milliseconds, `_ms` durations, `_micros` micro-dollars. */
export interface Report {
  verdict: ReportVerdict;
  /** One sentence from counts alone. */
  headline: string;
  schema_version: typeof REPORT_SCHEMA;
  made_at: number;
  run: { id: string; name: string; status: string };
  /** Null: a run that no plan has started. */
  plan: {
    id: string;
    name: string;
    state: PlanState;
    reason: string | null;
    stopping: string | null;
    file: string | null;
    schedule_id: string | null;
    repo_root: string;
    window: PlanWindow | null;
    stop_when: StopWhen;
  } | null;
  started_at: number;
  /** Null while it goes on. */
  ended_at: number | null;
  took_ms: number;
  /** The zone in which times are told to people. */
  timezone: string;
  /** Steps that are work (of a plan), else sessions, by what became of them. */
  counts: Counts;
  waiting: Waiting[];
  steps: ReportStep[];
  /** Sessions of the run that belong to no step. */
  sessions: ReportSession[];
  merged: ReportMerge[];
  refused: ReportMerge[];
  spent: Spent;
  spent_by_model: (Spent & { model: string | null })[];
  spent_by_pool: (Spent & { pool: string })[];
  budgets: ReportBudget[];
  lost_to_limits: LostTime[];
  retries: { step_id: string; round: number; cause: string | null; at: number }[];
  /** Turns that did not end well, by outcome. */
  bad_turns: { outcome: Outcome; turns: number }[];
  gates: ReportGate[];
  kills: ReportKill[];
  incidents: ReportIncident[];
  missed: ReportMissed[];
  windows: { event: string; at: number }[];
  timeline: TimelineRow[];
}

export interface Counts {
  of: 'steps' | 'sessions';
  total: number;
  done: number;
  failed: number;
  skipped: number;
  cancelled: number;
  parked: number;
  running: number;
  /** Not begun yet. */
  pending: number;
  /** Items of lists beyond their caps, which nobody worked on; they are in no other number. */
  dropped: number;
}

export interface ReportSession {
  id: string;
  name: string;
  role: string;
  state: SessionState;
  reason: string | null;
  took_ms: number;
  spent: Spent;
  gates: ('red' | 'green')[];
  merged_commit: string | null;
}

export interface ReportBudget {
  scope: 'run' | 'session';
  name: string;
  cost_micros: number | null;
  tokens: number | null;
  spent_micros: number;
  spent_tokens: number;
  /** Turns that count as nothing against it, because nobody knows what they cost. */
  unpriced_turns: number;
  raised_count: number;
}

export interface ReportIncident {
  id: string;
  kind: IncidentKind;
  path: string;
  between: string[];
  /** Whom it holds. */
  held: string | null;
  summary: string;
  resolution: string | null;
  at: number;
  resolved_at: number | null;
}

export interface ReportMissed {
  schedule: string;
  state: ScheduleRunState;
  reason: string | null;
  due_at: number;
  until_at: number;
  /** Null: too many to count. */
  times: number | null;
}
