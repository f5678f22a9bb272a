import { workFacts } from './facts.ts';
import { mergeBases } from './merge-base.ts';
import { type MergeConflict, predictMerge } from './merge-tree.ts';
import { openWorktree } from './open-worktree.ts';
import { type Operation, operationUnderWay } from './operation.ts';
import { gitOutput } from './run.ts';

export interface WorktreeHealth {
  /** `clear`: nothing of its own; `in_progress`: changes or commits; `conflicted`: it cannot come together with the base. */
  health: 'clear' | 'in_progress' | 'conflicted';
  /** At most 50 paths, as `workFacts` gives them. */
  dirty: string[];
  /** With the base, as far as it is committed; `unmerged` are those of the operation under way. */
  conflicts: MergeConflict[];
  /** What somebody is in the middle of. */
  operation: Operation | null;
}

/**
 * How a worktree stands to the commit it is to be merged into (full id) (E-176). Changes nothing.
 * Errors: those of `openWorktree`, `predictMerge`, `workFacts`.
 */
export async function worktreeHealth(wanted: { path: string; base: string }): Promise<WorktreeHealth> {
  const { root, git_dir, head_commit } = await openWorktree(wanted.path);
  const operation = operationUnderWay(git_dir);
  const dirty = (await workFacts(root, null))?.dirty ?? [];
  const bases: string[] = head_commit === null ? [] : await mergeBases(root, wanted.base, head_commit);
  const has_commits = head_commit !== null && !bases.includes(head_commit);
  const is_ahead = bases.includes(wanted.base);
  const predicted =
    head_commit !== null && has_commits && !is_ahead
      ? (await predictMerge(root, wanted.base, head_commit)).conflicts
      : [];
  const conflicts = [...predicted, ...(operation === null ? [] : await unmerged(root))];
  const has_work = dirty.length > 0 || has_commits || operation !== null;
  const health = conflicts.length > 0 ? 'conflicted' : has_work ? 'in_progress' : 'clear';
  return { health, dirty, conflicts, operation };
}

async function unmerged(root: string): Promise<MergeConflict[]> {
  const args = ['diff', '--name-only', '--diff-filter=U', '-z'];
  const paths = await gitOutput(`look for conflicts in ${root}`, args, { cwd: root });
  return [...new Set(paths.split('\0'))].filter((path) => path !== '').map((path) => ({ path, kind: 'unmerged' }));
}
