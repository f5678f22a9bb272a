import type { MissingLine } from '../git/merge-commit.ts';
import type { MergeQueueEntry } from '../model/merge-queue.ts';
import type { SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import type { GateVerdict } from '../session/gate.ts';
import type { PidLock } from '../sys/lock.ts';
import { type Hold, type Known, type PassedOver, tryKey } from './facts.ts';

/** What has become of one session's branch in this call. */
export interface EntryOutcome {
  session_id: string;
  name: string;
  branch: string;
  base_branch: string;
  outcome: 'merged' | 'up_to_date' | 'rebased' | 'conflict' | 'gate' | 'failed';
  /** Of the branch, when it was tried. */
  head: string | null;
  merged_commit: string | null;
  cleaned_worktree: boolean;
  /** Why worktree or branch are still there although the work is in; null when they are gone or were to stay. */
  kept: string | null;
  /** What git ignores and went with the worktree, in words; null when there was nothing. */
  ignored: string | null;
  /** Paths. */
  conflicts: string[];
  reason: string | null;
  /** End of what a red gate printed. */
  output: string | null;
  /** Lines that a side added and the result does not have. */
  missing: MissingLine[];
  /** There are more of them than are listed. */
  missing_truncated: boolean;
}

/** One target branch of one repository, and how to merge into it. The lock of the target is held all the while. */
export interface Run {
  deps: Deps;
  repo_root: string;
  target: string;
  gate: { commands: readonly string[]; timeout_ms: number };
  lock: PidLock;
  /** Entries that are tried together. */
  batch: number;
  /** Name of the caller. */
  by: string;
  /** Worktree and branch of what is merged go. */
  is_clean: boolean;
  /** Ends gates early; what is not merged by then stays as it is. */
  signal: AbortSignal;
  /** In order of their happening. */
  outcomes: EntryOutcome[];
  /** What is not tried again in this call, by `tryKey`. */
  passed_over: Map<string, PassedOver>;
  /** What the gates said about a commit. */
  verdicts: Map<string, GateVerdict>;
  /** The target does not pass its own gate: then one entry's red says nothing about its neighbours. */
  is_target_red: boolean;
}

/** The same facts for every way an entry can end. */
export function outcomeOf(
  { row, target, head }: Pick<Known, 'target' | 'head'> & { row: SessionRow },
  outcome: EntryOutcome['outcome'],
  more: Partial<EntryOutcome> = {},
): EntryOutcome {
  return {
    ...{ session_id: row.id, name: row.name, branch: row.branch ?? '', base_branch: target, outcome, head },
    ...{
      merged_commit: null,
      cleaned_worktree: false,
      kept: null,
      ignored: null,
      conflicts: [],
      reason: null,
      output: null,
    },
    ...{ missing: [], missing_truncated: false },
    ...more,
  };
}

/** Not again in this call; `base_head`: not while the target is there. */
export function passOver(run: Run, known: Known, hold: Hold, why: string, base_head: string | null = null): void {
  if (known.head !== null) run.passed_over.set(tryKey(known.row.id, known.head), { hold, why, base_head });
}

/** Why nothing was done for a whole target. */
export interface Refusal {
  target: string;
  session_ids: string[];
  error: unknown;
}

/** What one target came to. */
export interface Processed {
  outcomes: EntryOutcome[];
  /** What is left, with its blockers. */
  entries: MergeQueueEntry[];
  known: ReadonlyMap<string, Known>;
}
