import type { Deps } from '../session/deps.ts';
import { judgeWorktree, removeWorktree } from '../session/worktree-clean.ts';
import { endedWith } from '../store/merge.ts';
import type { Known } from './facts.ts';

/**
 * Takes worktree and branch of merged work away (E-153), as `drover worktree clean` would: only if nobody is in it, nothing
 * is uncommitted, and its commits are kept elsewhere (I22). What stays is said, and is no failure of the merge.
 */
export async function tidyUp(
  deps: Deps,
  { row, path }: Pick<Known, 'row' | 'path'>,
): Promise<{ cleaned_worktree: boolean; kept: string | null }> {
  const owned = { row, path, ids: await endedWith(deps.store, path) };
  const verdict = await judgeWorktree(deps, owned);
  if (verdict.why !== null) return { cleaned_worktree: false, kept: `worktree ${path}: ${verdict.why}` };
  const done = await removeWorktree(deps, owned, verdict);
  if (!done.removed) return { cleaned_worktree: false, kept: `worktree ${path}: ${done.why}` };
  return { cleaned_worktree: true, kept: done.branch_kept === null ? null : `branch: ${done.branch_kept}` };
}
