import { git, gitFailed } from './run.ts';

/** A merge commit, and what it has to consist of. Full ids. */
export interface MergeShape {
  commit: string;
  /** What git's merge of the two parents gives. */
  tree: string | null;
  ours: string;
  theirs: string;
}

/**
 * Which of these commits is the first that does not have its tree and exactly its two parents in their order; their number
 * when all are right. One process. Errors: those of `git` and `gitFailed`.
 */
export async function firstWrong(repo_root: string, merges: readonly MergeShape[]): Promise<number> {
  if (merges.length === 0) return 0;
  const args = ['log', '--no-walk=unsorted', '--format=%H %T %P', '--end-of-options'];
  const result = await git([...args, ...merges.map(({ commit }) => commit)], { cwd: repo_root });
  if (result.code !== 0) throw gitFailed('read the merge commits', result);
  const lines = new Set(result.stdout.split('\n'));
  const at = merges.findIndex(({ commit, tree, ours, theirs }) => !lines.has(`${commit} ${tree} ${ours} ${theirs}`));
  return at < 0 ? merges.length : at;
}
