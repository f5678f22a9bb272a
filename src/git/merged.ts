import { AppError } from '../model/error.ts';
import { COMMIT_ID, resolveCommit } from './repository.ts';
import { git, gitFailed, gitOutput } from './run.ts';

/**
 * Whether all commits of `head` are on another local branch, a remote's branch or a tag: then the branch `branch` (null:
 * detached) may go without anything being lost.
 */
export async function isKeptElsewhere(cwd: string, head: string, branch: string | null): Promise<boolean> {
  const others = [...(branch === null ? [] : [`--exclude=${branch}`]), '--branches', '--remotes', '--tags'];
  const args = ['rev-list', '--max-count=1', head, '--not', ...others];
  return (await gitOutput(`look where ${head} is kept`, args, { cwd })).trim() === '';
}

/**
 * Deletes a branch that no worktree has checked out and whose commits are kept elsewhere; false when there is none.
 * Throws `branch_unmerged`, `branch_in_use` (3), `git_failed`.
 */
export async function removeMergedBranch(repo_root: string, branch: string): Promise<boolean> {
  const ref = `refs/heads/${branch}`;
  const head = await resolveCommit(repo_root, ref);
  if (head === null || !COMMIT_ID.test(head)) return false;
  const format = '--format=%(refname) %(worktreepath)';
  const listed = await gitOutput(`look for the branch ${branch}`, ['for-each-ref', format, '--', ref], {
    cwd: repo_root,
  });
  if (!listed.split('\n').includes(`${ref} `))
    throw refused('branch_in_use', `the branch ${branch} is checked out in a worktree`);
  if (!(await isKeptElsewhere(repo_root, head, branch)))
    throw refused('branch_unmerged', `the branch ${branch} has commits that are nowhere else`);
  // Only if it still is where it was when it was judged.
  const deleted = await git(['update-ref', '--no-deref', '-d', ref, head], { cwd: repo_root });
  if (deleted.code !== 0) throw gitFailed(`delete the branch ${branch}`, deleted);
  return true;
}

function refused(code: string, message: string): AppError {
  return new AppError('refused', code, message, { preserved: 'the branch is untouched' });
}
