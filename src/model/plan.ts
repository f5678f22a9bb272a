import type { RetryCause, StepOutcome } from './plan-step.ts';

/** When a step starts, as a word about the steps it needs. */
export const WHENS = ['all_ok', 'any_failed', 'always'] as const;
export type When = (typeof WHENS)[number];

/** What becomes of a step's branch. */
export const MERGE_MODES = ['queue', 'pr', 'none'] as const;
export type MergeMode = (typeof MERGE_MODES)[number];

export const ON_FAILURES = ['continue', 'stop'] as const;
export type OnFailure = (typeof ON_FAILURES)[number];

/** What happens to running turns when the window closes. */
export const AT_CLOSE = ['finish', 'park'] as const;

/** Bounds of what a person may write down. */
export const PLAN_LIMITS = {
  bytes: 1024 * 1024,
  steps: 10_000,
  concurrency: 1_000,
  attempts: 16,
  foreach: 1_000,
  retries: 20,
} as const;

/** Money and tokens that may be spent; null: no bound. */
export interface Allowance {
  cost_micros: number | null;
  tokens: number | null;
}

/** Wall times `HH:MM` of a zone; a stop before the start is on the next day. */
export interface PlanWindow {
  start: string;
  stop: string;
  timezone: string;
  running: (typeof AT_CLOSE)[number];
}

/** What ends a plan early: nothing new starts, what runs may finish. */
export interface StopWhen {
  failed_steps: number | null;
  cost_micros: number | null;
  /** Share of the pools' quota that is left, 0 to 1. */
  quota_left: number | null;
}

export type Scalar = string | number | boolean;

/** One step as it is written down, its plan's defaults applied. Holes are still open. */
export interface PlanStep {
  id: string;
  task: string;
  needs: string[];
  harness: string | null;
  profile: string | null;
  role: string | null;
  /** null: as the config says. */
  worktree: boolean | null;
  base: string | null;
  /** null: the repository's own. */
  gate: string[] | null;
  retry: { max: number; on: RetryCause[] };
  timeout_ms: number | null;
  budget: Allowance | null;
  when: When;
  /** Sessions that work on it side by side; the best result is kept. */
  attempts: number;
  matrix: Record<string, Scalar[]> | null;
  /** The step whose printed JSON list this one is repeated for, at most `max` times. */
  foreach: { step: string; max: number } | null;
  inputs: Record<string, string>;
  /** Name → `answer`, or a path in the step's working directory. */
  outputs: Record<string, string>;
  merge: MergeMode;
}

/** What a plan says of all its steps. */
export interface PlanSettings {
  name: string;
  concurrency: number;
  pools: Record<string, number>;
  budget: Allowance | null;
  window: PlanWindow | null;
  stop_when: StopWhen;
  on_failure: OnFailure;
  /** Where the report goes beside its place in DROVER_HOME; relative to the repository. */
  report: string | null;
}

export interface PlanFile extends PlanSettings {
  steps: PlanStep[];
}

/** A step as it is carried out: one of a matrix' combinations, one item of a list, or the group that holds these. */
export interface ExpandedStep extends Omit<PlanStep, 'matrix'> {
  kind: 'task' | 'group';
  /** The group it belongs to. */
  group_id: string | null;
  /** Values of static holes, e.g. `matrix.os`; filled in together with all others when the session is made. */
  values: Record<string, string>;
}

/** `parked`: nothing goes on before a person acts. `paused`: a person's word. */
export const PLAN_STATES = ['active', 'paused', 'parked', 'completed', 'failed', 'cancelled'] as const;
export type PlanState = (typeof PLAN_STATES)[number];
export const ENDED_PLAN_STATES = ['completed', 'failed', 'cancelled'] as const;

/** Legal predecessors of every state of a plan: the `IN (…)` of the one guarded UPDATE. */
export const PLAN_PREDECESSORS: Record<PlanState, readonly PlanState[]> = {
  active: ['paused', 'parked'],
  paused: ['active', 'parked'],
  parked: ['active'],
  completed: ['active', 'paused', 'parked'],
  failed: ['active', 'paused', 'parked'],
  cancelled: ['active', 'paused', 'parked'],
};

/** One row of `plans`, spelled like its columns. Times are wall milliseconds. */
export interface PlanRow {
  id: string;
  name: string;
  /** The run its sessions belong to. */
  run_id: string;
  repo_root: string;
  working_dir: string;
  /** Where it was read from; null: standard input or a template. */
  file: string | null;
  schedule_id: string | null;
  /** `PlanSettings`. */
  settings_json: string;
  state: PlanState;
  reason: string | null;
  /** Set once: why nothing new starts any more (`StopCause`). */
  stopping: StopCause | null;
  /** As it was last seen; null without a window. */
  is_window_open: number | null;
  created_at: number;
  updated_at: number;
  ended_at: number | null;
  /** When its report was written. */
  reported_at: number | null;
}

/** Why a plan stopped early. */
export const STOP_CAUSES = ['on_failure', 'failed_steps', 'usd', 'quota_left'] as const;
export type StopCause = (typeof STOP_CAUSES)[number];

/** One line of a plan's history (`plan_log`). */
export interface PlanLogRow {
  seq: number;
  plan_id: string;
  step_id: string | null;
  event: string;
  outcome: StepOutcome | null;
  detail: string | null;
  at: number;
}
