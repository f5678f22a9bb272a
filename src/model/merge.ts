/** How one attempt to merge one session's branch ended. */
export const MERGE_OUTCOMES = ['merged', 'up_to_date', 'conflict', 'gate', 'failed'] as const;
export type MergeOutcome = (typeof MERGE_OUTCOMES)[number];

/** One row of `merges`: an attempt, claimed before git is asked and settled after. Times are wall milliseconds. */
export interface MergeRow {
  seq: number;
  session_id: string;
  repo_root: string;
  branch: string;
  target: string;
  /** Head of the branch and of the target when the attempt began. */
  head: string;
  base_head: string;
  started_at: number;
  /** Null while it is under way. */
  ended_at: number | null;
  outcome: MergeOutcome | null;
  /** New head of the target. */
  merged_commit: string | null;
  reason: string | null;
  /** End of what a red gate printed. */
  output: string | null;
  /** JSON list of `{path, side, line}`: added lines that the result does not have. */
  missing_json: string | null;
}

/** One row of `worktrees`: a slot. Claimed before the checkout is made, settled by `created_at`. */
export interface WorktreeRow {
  path: string;
  session_id: string;
  repo_root: string;
  branch: string;
  base_commit: string;
  claimed_at: number;
  created_at: number | null;
  /** Set while it is being removed; the slot stays taken until it is gone. */
  removing_at: number | null;
  /** When it was last found, for somebody who waits for a slot, that it has to stay. */
  kept_at: number | null;
}
