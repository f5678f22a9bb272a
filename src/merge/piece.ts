import type { MergeShape } from '../git/merge-shape.ts';
import type { Known } from './facts.ts';

/** One claimed attempt. */
export interface Claimed {
  seq: number;
  known: Known;
  /** Of its branch, when it was claimed. */
  head: string;
}

/** One entry on top of those before it. */
export interface Piece {
  claim: Claimed;
  /** First parent: the target, or the merge of the entry before. */
  ours: string;
  /** The merge commit; `ours` when there is nothing to merge. */
  commit: string;
  /** What git's merge of the two parents gave; null when there is nothing to merge. */
  tree: string | null;
  /** Both sides touched other files: nothing of either can be missing. */
  is_plain: boolean;
}

export function messageFor({ known }: Claimed): string {
  const { row, target } = known;
  const task = row.task.trim().split('\n')[0]?.slice(0, 200) ?? '';
  return `Merge branch '${row.branch}' into ${target}\n\n${task}\n\nDrover-Session: ${row.id}\n`;
}

export function shapeOf({ commit, tree, ours, claim }: Piece): MergeShape {
  return { commit, tree, ours, theirs: claim.head };
}
