import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { isDirectory } from '../sys/directory.ts';
import { moveAside, removeTree } from '../sys/discard.ts';
import { gitPatiently } from './patient.ts';
import { findRepository } from './repository.ts';
import { git, gitFailed } from './run.ts';
import { removeCleanWorktree } from './worktree.ts';

/** As long as the first checkout may take. */
const CHECKOUT_TIMEOUT_MS = 600_000;

interface Place {
  repo_root: string;
  /** Absolute. */
  path: string;
  clock: Clock;
}

/**
 * A worktree on a branch that is there already, at a path where nothing is. A note of git's about a directory that somebody
 * deleted is dropped first, whatever branch it speaks of.
 * Errors: `refused` / `branch_in_use`, `worktree_exists`; `failed` / `git_failed`; those of `git`.
 */
export async function reopenWorktree({ repo_root, path, clock }: Place, branch: string): Promise<void> {
  await forgetWorktree({ repo_root, path, clock });
  const options = { cwd: repo_root, timeout_ms: CHECKOUT_TIMEOUT_MS };
  const args = ['worktree', 'add', '--no-guess-remote', '--', path, branch];
  const result = await gitPatiently(args, options, clock);
  if (result.code === 0) return;
  if (/is already (?:used by worktree|checked out) at/.test(result.stderr)) {
    throw new AppError('refused', 'branch_in_use', `the branch ${branch} is checked out in another worktree`, {
      hint: '`git worktree list` shows where; leave that branch there first.',
      preserved: 'nothing was changed',
      data: { branch },
    });
  }
  if (/fatal: '.*' already exists/s.test(result.stderr))
    throw new AppError('refused', 'worktree_exists', `there is something at ${path} already`, { data: { path } });
  throw gitFailed(`add the worktree ${path}`, result);
}

/**
 * Drops git's note about a worktree whose directory is gone, also one that a killed `git worktree add` has locked. Where
 * there is a directory, or no note, nothing is done.
 */
export async function forgetWorktree({ repo_root, path, clock }: Place): Promise<void> {
  if (isDirectory(path)) return;
  // Fails when it is not locked; a lock of a person's own is about a place that comes back.
  if (await isUnfinishedNote(repo_root, path)) await git(['worktree', 'unlock', '--', path], { cwd: repo_root });
  try {
    await removeCleanWorktree({ repo_root, path, clock });
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'worktree_not_found') throw error;
  }
}

async function isUnfinishedNote(repo_root: string, path: string): Promise<boolean> {
  const listed = await git(['worktree', 'list', '--porcelain', '-z'], { cwd: repo_root });
  if (listed.code !== 0) throw gitFailed('list the worktrees', listed);
  const notes = listed.stdout.split('\0\0').map((note) => note.split('\0'));
  return notes.some((note) => note.includes(`worktree ${path}`) && note.includes('locked initializing'));
}

/**
 * Takes away a checkout that was never finished, by a git that is not alive any more: what is in it came from the
 * repository. One that is finished is left alone; then false.
 */
export async function dropUnfinished({ repo_root, path, clock }: Place): Promise<boolean> {
  const found = await findRepository(path);
  if (found?.root !== path || !found.is_unfinished) return false;
  // In one step: half a directory could not be told from somebody's work.
  const aside = moveAside(path);
  if (aside !== null) removeTree(aside);
  await forgetWorktree({ repo_root, path, clock });
  return true;
}
