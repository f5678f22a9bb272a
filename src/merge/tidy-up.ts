import type { Deps } from '../session/deps.ts';
import { ignoredText, judgeWorktree, removeWorktree } from '../session/worktree-clean.ts';
import { endedOwners } from '../store/worktree.ts';
import type { Known } from './facts.ts';

/**
 * Takes worktree and branch of merged work away (E-153), as `drover worktree clean` would: only if nobody is in it, nothing
 * is uncommitted, and its commits are kept elsewhere (I22). Work that is meant for another target stays: it has to go in
 * there, too. What stays is said, and is no failure of the merge.
 */
export async function tidyUp(
  deps: Deps,
  { row, path, target }: Pick<Known, 'row' | 'path' | 'target'>,
): Promise<{ cleaned_worktree: boolean; kept: string | null; ignored?: string | null }> {
  if (row.base_branch !== null && row.base_branch !== target)
    return { cleaned_worktree: false, kept: `worktree ${path}: its work is meant for ${row.base_branch}` };
  const owned = { row, path, ids: await endedOwners(deps.store, path) };
  const verdict = await judgeWorktree(deps, owned);
  if (verdict.why !== null) return { cleaned_worktree: false, kept: `worktree ${path}: ${verdict.why}` };
  const done = await removeWorktree(deps, owned, verdict);
  if (!done.removed) return { cleaned_worktree: false, kept: `worktree ${path}: ${done.why}` };
  const kept = done.branch_kept === null ? null : `branch: ${done.branch_kept}`;
  return { cleaned_worktree: true, kept, ignored: done.ignored.names.length === 0 ? null : ignoredText(done.ignored) };
}
