import { git, gitFailed } from '../git/run.ts';
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

/**
 * Which of these merge commits is the first that does not have the tree of git's merge and exactly its two parents; their
 * number when all are right. One process. Errors: those of `gitFailed`.
 */
export async function firstWrong(repo_root: string, pieces: readonly Piece[]): Promise<number> {
  const args = ['log', '--no-walk=unsorted', '--format=%H %T %P', '--end-of-options', ...pieces.map((p) => p.commit)];
  const result = await git(args, { cwd: repo_root });
  if (result.code !== 0) throw gitFailed('read the merge commits', result);
  const lines = new Set(result.stdout.split('\n'));
  const at = pieces.findIndex(({ commit, tree, ours, claim }) => !lines.has(`${commit} ${tree} ${ours} ${claim.head}`));
  return at < 0 ? pieces.length : at;
}
