import { checkCommitIds } from './merge-base.ts';
import { git, gitFailed } from './run.ts';

/**
 * Of `paths` (relative to the top of the worktree at `root`) those whose file is the one that commit `as` (a full id) has, or
 * which neither has; none when more differ than can be listed. A file that git does not track is nobody's. Changes nothing.
 * Errors: `usage` / `commit_invalid`; those of `git`, `gitFailed`.
 */
export async function sameAs(root: string, as: string, paths: readonly string[]): Promise<Set<string>> {
  checkCommitIds(as);
  const differing = await listed(root, ['diff', '--name-only', '-z', '--no-renames', as, '--']);
  const same = paths.filter((path) => differing !== null && !differing.has(path));
  if (same.length === 0) return new Set();
  const untracked = await listed(root, ['ls-files', '-z', '--others', '--exclude-standard', '--full-name', '--', ':/']);
  return new Set(same.filter((path) => untracked !== null && !untracked.has(path)));
}

/** Null when there are more than can be listed. */
async function listed(root: string, args: string[]): Promise<Set<string> | null> {
  const result = await git(args, { cwd: root });
  if (result.code !== 0) throw gitFailed(`compare the files in ${root}`, result);
  return result.truncated ? null : new Set(result.stdout.split('\0'));
}
