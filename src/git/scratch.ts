import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { removeTree } from '../sys/discard.ts';
import { errnoOf, systemError } from '../sys/errno.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import { checkCommitIds } from './merge-base.ts';
import { gitPatiently } from './patient.ts';
import { openRepository } from './repository.ts';
import { type GitResult, gitFailed } from './run.ts';

const TIMEOUT_MS = 600_000;

/** Why git finds it locked: our mark from the first moment on, so that we never take somebody else's for ours. */
const reasonFor = (path: string) => `drover scratch ${path}`;

/**
 * A worktree on no branch at `commit` (full id), for running gates. Locked against a general `git worktree prune`. No
 * filters and no hooks run. After an error nothing is left.
 * Errors: `usage` / `worktree_path_invalid`, `commit_invalid`; `refused` / `worktree_exists`; `not_found` /
 * `commit_not_found`; those of `git`, `gitFailed`.
 */
export async function addScratch(wanted: {
  repo_root: string;
  path: string;
  commit: string;
  clock: Clock;
}): Promise<void> {
  const { repo_root, path, commit, clock } = wanted;
  checkPath(path);
  checkCommitIds(commit);
  const args = ['worktree', 'add', '--detach', '--lock', '--reason', reasonFor(path), '--', path, commit];
  let result: GitResult;
  try {
    result = await gitPatiently(args, { cwd: repo_root, timeout_ms: TIMEOUT_MS }, clock);
  } catch (error) {
    await removeScratch({ repo_root, path, clock });
    throw error;
  }
  if (result.code === 0) return;
  if (/fatal: '.*' already exists|(?:already registered|missing but locked) worktree/s.test(result.stderr)) {
    throw inTheWay(path);
  }
  await removeScratch({ repo_root, path, clock });
  if (/invalid reference|not a commit|bad object|unable to read tree/.test(result.stderr)) {
    throw new AppError('not_found', 'commit_not_found', `${repo_root} has no commit ${commit}`);
  }
  throw gitFailed(`make a scratch worktree at ${path}`, result);
}

function checkPath(path: string): void {
  if (isAbsolute(path) && !path.includes('\0')) return;
  throw new AppError('usage', 'worktree_path_invalid', `not an absolute path: ${JSON.stringify(path)}`);
}

function inTheWay(path: string): AppError {
  return new AppError('refused', 'worktree_exists', `there is something at ${path} already`, {
    hint: 'What a killed process left there is taken away by removing the scratch worktree first.',
    preserved: 'nothing was changed',
    data: { path },
  });
}

/**
 * Takes a scratch worktree away, whatever gates left in it, and git's note about exactly this one. May be called again
 * after it was interrupted at any point, and when there is nothing (more). Processes that still run in it are not ended.
 * Errors: `refused` / `worktree_foreign` (not made by `addScratch`), `permission_denied`; those of `findRepository`.
 */
export async function removeScratch(wanted: { repo_root: string; path: string; clock: Clock }): Promise<void> {
  const { repo_root, path } = wanted;
  checkPath(path);
  const { common_dir } = await openRepository(repo_root);
  const note = findNote(common_dir, path);
  if (note === null) {
    if (!isThere(path)) return;
    throw new AppError('refused', 'worktree_foreign', `${path} is not a scratch worktree of ${repo_root}`, {
      preserved: 'nothing was removed',
      data: { path },
    });
  }
  // The note goes last: whoever comes after a crash knows by it that the rest is ours.
  removeStubborn(path);
  removeTree(note);
}

/** Git's own directory about the worktree at `path`, found by our mark: a gate may have rewritten all that is in the tree. */
function findNote(common_dir: string, path: string): string | null {
  const notes = join(common_dir, 'worktrees');
  const mark = reasonFor(path);
  const found = entriesOf(notes).find((id) => readTextIfExists(join(notes, id, 'locked'))?.replace(/\n$/, '') === mark);
  return found === undefined ? null : join(notes, found);
}

function entriesOf(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw systemError(error, `look into ${dir}`);
  }
}

function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    throw systemError(error, `look at ${path}`);
  }
}

/** Caches of some tools are made of directories that nobody may write to. */
function removeStubborn(path: string): void {
  try {
    removeTree(path);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'permission_denied') throw error;
    openDirectories(Buffer.from(path));
    removeTree(path);
  }
}

function openDirectories(dir: Buffer): void {
  try {
    if (!lstatSync(dir).isDirectory()) return;
    chmodSync(dir, 0o700);
    for (const name of readdirSync(dir, { encoding: 'buffer' })) {
      openDirectories(Buffer.concat([dir, Buffer.from('/'), name]));
    }
  } catch (error) {
    throw systemError(error, `open the directory ${dir}`);
  }
}
