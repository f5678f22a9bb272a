/** Where a step is. `merging`: its work is done and waits to be merged. */
export const STEP_STATES = [
  'pending',
  'running',
  'parked',
  'merging',
  'done',
  'failed',
  'skipped',
  'cancelled',
] as const;
export type StepState = (typeof STEP_STATES)[number];
export const ENDED_STEP_STATES = ['done', 'failed', 'skipped', 'cancelled'] as const;

/** Legal predecessors of every state of a step: the `IN (…)` of the one guarded UPDATE. */
export const STEP_PREDECESSORS: Record<StepState, readonly StepState[]> = {
  pending: ['running', 'parked'],
  running: ['pending', 'parked'],
  parked: ['running', 'merging'],
  merging: ['running', 'parked'],
  done: ['pending', 'running', 'parked', 'merging'],
  failed: ['pending', 'running', 'parked', 'merging'],
  skipped: ['pending', 'running', 'parked'],
  cancelled: ['pending', 'running', 'parked', 'merging'],
};

/**
 * Why a session of a step did not succeed, and may be tried again. `failed`: in-band; `timed_out`: its own limit;
 * `stalled`: ended as stuck; `lost`: its process vanished; `gate`: the gate stayed red.
 */
export const RETRY_CAUSES = ['failed', 'timed_out', 'stalled', 'lost', 'gate'] as const;
export type RetryCause = (typeof RETRY_CAUSES)[number];

/** Causes that no second attempt helps. `stopped`: a person's word. */
export const FINAL_CAUSES = ['stopped', 'fan_out', 'sling', 'merge', 'group'] as const;
export type FailureCause = RetryCause | (typeof FINAL_CAUSES)[number];

/** `need_failed`: a needed step failed; `need_skipped`: one was not needed; `condition`: `when` did not come true; `stopped`: the plan ended early. */
const SKIP_CAUSES = ['need_failed', 'need_skipped', 'condition', 'stopped'] as const;
export type SkipCause = (typeof SKIP_CAUSES)[number];

/** The word in a step's column `reason` that rules decide by; a sentence is kept beside it. */
export type StepOutcome = FailureCause | SkipCause;

/** What has to be done before a step that was refused can go on: in words, and as commands. Kept in the plan's log. */
export interface WayOn {
  hint: string | null;
  commands: string[];
}

/** One row of `plan_steps`. Times are wall milliseconds. */
export interface StepRow {
  plan_id: string;
  step_id: string;
  /** Needs before those that need them; the file's order where that is free. */
  position: number;
  /** 0; of what a list fanned out to below 0, so that members come before the group whose place they share. */
  child_no: number;
  kind: 'task' | 'group';
  group_id: string | null;
  /** `ExpandedStep`. */
  spec_json: string;
  /** The credential whose limits its sessions will share. */
  pool: string;
  state: StepState;
  outcome: StepOutcome | null;
  reason: string | null;
  /** 1 for the first try. It is the fence of every write about a try. */
  round: number;
  not_before_at: number | null;
  /** The session whose work counts. */
  session_id: string | null;
  /** Name → text, taken when the step ended. */
  outputs_json: string | null;
  /** Items of the list beyond the cap. */
  dropped: number;
  started_at: number | null;
  ended_at: number | null;
}

/** One row of `step_sessions`: the session of one try of a step; `slot` counts the attempts side by side. */
export interface StepSessionRow {
  plan_id: string;
  step_id: string;
  round: number;
  slot: number;
  session_id: string;
  /** Lines its branch changes, once it has ended and they were counted. */
  diff_lines: number | null;
  /** When the branch of one that was not taken was put away under another name. */
  archived_at: number | null;
  created_at: number;
}
