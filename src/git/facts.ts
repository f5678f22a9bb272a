import { statSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../model/error.ts';
import { isDirectory, listFiles } from '../sys/directory.ts';
import { errnoOf, systemError } from '../sys/errno.ts';
import { unhidden, unseenIn } from './hidden-changes.ts';
import { COMMIT_ID, findRepository, type Repository } from './repository.ts';
import { type GitOptions, git, gitOutput, judgedOverrides } from './run.ts';

const MAX_COMMITS = 20;
const MAX_DIRTY = 50;

type GitOperation = 'merge' | 'rebase' | 'bisect';

/** What stands in a worktree: for the brief after an interruption and before a removal. */
export interface WorkFacts {
  /** Null before the first commit. */
  head: string | null;
  /** Null when HEAD is detached, as it is during a rebase. */
  branch: string | null;
  /** Newest first, at most 20: on HEAD and not on the base. Empty without a (known) base. */
  commits: { id: string; subject: string }[];
  /**
   * At most 50 paths relative to the top: changed, staged, unmerged, or new and not ignored (a new directory is one); also
   * where the index says not to look, and inside of submodules.
   */
  dirty: string[];
  in_progress: GitOperation | null;
}

/** The facts of the worktree that holds `dir`; null when it is gone or not in one. Errors: those of `findRepository`. */
export async function workFacts(dir: string, base_commit: string | null): Promise<WorkFacts | null> {
  const repository = await findRepository(dir);
  return repository === null ? null : factsAt(repository, base_commit);
}

/** The same of one that was found a moment ago; null when it is bare. Errors: those of `git`, `gitFailed`. */
export async function factsAt(repository: Repository, base_commit: string | null): Promise<WorkFacts | null> {
  const { root, head_commit, branch, git_dir, is_bare } = repository;
  if (is_bare) return null;
  const [commits, dirty] = await Promise.all([
    head_commit !== null && base_commit !== null ? commitsSince(root, base_commit, head_commit) : [],
    dirtyPaths(repository),
  ]);
  return { head: head_commit, branch, commits, dirty, in_progress: operationInProgress(git_dir) };
}

async function commitsSince(root: string, base: string, head: string): Promise<WorkFacts['commits']> {
  if (!COMMIT_ID.test(base)) return [];
  const args = ['log', '-z', '--format=%H %s', `--max-count=${MAX_COMMITS}`, '--end-of-options', `${base}..${head}`];
  // Fails when the base is unknown here: its commits may have been rewritten and collected.
  const { code, stdout } = await git(args, { cwd: root });
  if (code !== 0) return [];
  return stdout
    .split('\0')
    .filter((line) => line !== '')
    .map((line) => ({ id: line.slice(0, head.length), subject: line.slice(head.length + 1) }));
}

async function dirtyPaths(repository: Repository): Promise<string[]> {
  const { root } = repository;
  const options: GitOptions = { cwd: root, judged: await judgedOverrides({ cwd: root }) };
  const [seen, unseen] = await Promise.all([statusPaths(root, options), unseenIn(options)]);
  // All that is seen is among these as well.
  const all = unseen.has_marks ? await unhidden(repository, (place) => statusPaths(root, place)) : seen;
  const inner: string[] = [];
  for (const link of unseen.links) inner.push(...(await changedInside(root, link)));
  return [...new Set([...all, ...inner])].slice(0, MAX_DIRTY);
}

async function statusPaths(root: string, options: GitOptions): Promise<string[]> {
  const args = ['status', '--porcelain', '-z', '--no-renames', '--untracked-files=normal'];
  const status = await gitOutput(`read the status of ${root}`, args, options);
  const paths: string[] = [];
  for (let at = 0; paths.length < MAX_DIRTY; ) {
    const end = status.indexOf('\0', at);
    if (end < 0) break;
    paths.push(status.slice(at + 3, end));
    at = end + 1;
  }
  return paths;
}

/**
 * Changes in the submodule at `link`, asked of a git of its own: one that went in by itself would run with whatever the
 * submodule configures. The submodule as a whole when nobody can look into it.
 */
async function changedInside(root: string, link: string): Promise<string[]> {
  const path = join(root, link);
  // Of files in one that is not populated git says nothing at all.
  if (!exists(join(path, '.git'))) return isDirectory(path) && listFiles(path).length > 0 ? [`${link}/`] : [];
  try {
    const found = await findRepository(path);
    const facts = found?.root === path ? await factsAt(found, null) : null;
    if (facts === null || facts.in_progress !== null) return [`${link}/`];
    return facts.dirty.map((name) => `${link}/${name}`);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return [`${link}/`];
  }
}

/** Looked up as git itself does it: by what the operation keeps in the worktree's git directory. */
function operationInProgress(git_dir: string): GitOperation | null {
  if (exists(join(git_dir, 'rebase-merge')) || exists(join(git_dir, 'rebase-apply'))) return 'rebase';
  if (exists(join(git_dir, 'MERGE_HEAD'))) return 'merge';
  return exists(join(git_dir, 'BISECT_LOG')) ? 'bisect' : null;
}

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return false;
    throw systemError(error, `look at ${path}`);
  }
}
