import type { PlanSettings, PlanState, StopCause, When } from './plan.ts';
import type { FailureCause, RetryCause, SkipCause, StepOutcome, StepState } from './plan-step.ts';

/** One session of a step's current round. */
export interface SessionFact {
  id: string;
  slot: number;
  state: 'live' | 'parked' | 'ended';
  /** It has had a turn, or a person has asked for one: it goes on although its plan stops. */
  is_begun: boolean;
  /** Parked: only a person's act moves it on. `gate`: its gate stayed red, which ends the try and keeps the work. */
  waits_for: 'time' | 'person' | 'gate' | null;
  /** In words, of a parked one. */
  reason: string | null;
  /** Ended: why it did not succeed; null when it did. */
  cause: FailureCause | null;
  /** Lines its branch changes; null: not known. The smallest of several good results is kept. */
  diff_lines: number | null;
  merge: 'none' | 'waiting' | 'merged' | 'refused';
}

/** What a step with foreach was given: so many items, or why it was no list; null: as long as its step is not done. */
export type ListFact = { items: number } | { problem: string } | null;

export interface StepFact {
  id: string;
  kind: 'task' | 'group';
  group_id: string | null;
  needs: readonly string[];
  /** The step with its list. */
  foreach: string | null;
  list: ListFact;
  when: When;
  attempts: number;
  retry: { max: number; on: readonly RetryCause[] };
  merge: 'queue' | 'pr' | 'none';
  pool: string;
  state: StepState;
  outcome: StepOutcome | null;
  round: number;
  /** Items of its list that were beyond the cap. */
  dropped: number;
  not_before_at: number | null;
  /** The session whose work counts, once it is known. */
  session_id: string | null;
  sessions: readonly SessionFact[];
}

export interface PlanFacts {
  plan: Omit<PlanSettings, 'name' | 'report'> & {
    state: PlanState;
    stopping: StopCause | null;
    is_window_open: boolean | null;
  };
  /** Of all sessions of the plan's run: those that failed, and those that its sessions have started, included. */
  spent: { cost_micros: number; tokens: number };
  /** The least of the pools' known shares; null: nobody said. */
  quota_left: number | null;
  /** Pools that let nothing start now, and until when; null: until a person says so. */
  shut_pools: ReadonlyMap<string, number | null>;
  /** Needs before those that need them, a group after its members. */
  steps: readonly StepFact[];
}

/**
 * What is to be done, each as one guarded write and then, if it landed, its effect. `archive` are sessions whose branch is
 * kept under another name; `stop` those that are to be ended.
 */
export type Decision =
  | { do: 'plan'; state: 'active' | 'parked' | 'completed' | 'failed'; reason: string | null }
  | { do: 'window'; is_open: boolean }
  | { do: 'stop'; cause: StopCause }
  | { do: 'start'; step_id: string; round: number; slot: number }
  | { do: 'fan_out'; step_id: string }
  | { do: 'park'; step_id: string; reason: string }
  | { do: 'unpark'; step_id: string }
  | { do: 'retry'; step_id: string; round: number; cause: FailureCause; not_before_at: number; stop: string[] }
  | { do: 'merge'; step_id: string; session_id: string; mode: 'queue' | 'pr' }
  | { do: 'finish'; step_id: string; session_id: string | null; archive: string[] }
  | { do: 'fail'; step_id: string; outcome: FailureCause; reason: string | null; archive: string[] }
  | { do: 'skip'; step_id: string; outcome: SkipCause }
  | { do: 'reopen'; step_id: string }
  | { do: 'hold'; session_id: string; until: number };

export interface Advance {
  decisions: Decision[];
  /** When time alone changes something; null: only an event does. */
  wake_at: number | null;
  /** Pools that are shut, and hold back a step that could start. */
  held_pools: string[];
}
