import { copyFileSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { systemError } from '../sys/errno.ts';
import { aside } from './aside.ts';
import type { Repository } from './repository.ts';
import { type GitOptions, git, gitFailed } from './run.ts';

/** What `git status` passes over in silence. */
export interface Unseen {
  /** Entries are marked as never changed, or as not wanted in the working tree. */
  has_marks: boolean;
  /** Paths of submodules, relative to the top. */
  links: string[];
}

/** Reads it from the index. Errors: those of `git`, `gitFailed`. */
export async function unseenIn(options: GitOptions): Promise<Unseen> {
  const result = await git(['ls-files', '-v', '--stage', '-z', '--full-name', '--', ':/'], options);
  if (result.code !== 0) throw gitFailed(`list the files of ${options.cwd}`, result);
  // Of more than can be listed nothing is taken for granted.
  const unseen: Unseen = { has_marks: result.truncated, links: [] };
  for (const entry of result.stdout.split('\0')) {
    if (/^[a-zS]/.test(entry)) unseen.has_marks = true;
    if (entry.startsWith(' 160000 ', 1)) unseen.links.push(entry.slice(entry.indexOf('\t') + 1));
  }
  return { ...unseen, links: [...new Set(unseen.links)] };
}

/** Where git takes a marked entry whose file is there for what it is: one to be looked at. */
const NOTHING_HIDDEN: readonly (readonly [key: string, value: string])[] = [
  ['core.sparseCheckout', 'true'],
  ['sparse.expectFilesOutsideOfPatterns', 'false'],
  ['core.splitIndex', 'false'],
  ['core.untrackedCache', 'false'],
];

/**
 * Runs `work` with options for a git that passes over no mark in the index of this worktree, by way of a copy: the index
 * itself stays as it is. Errors: those of `git`, `gitFailed`, `systemError`.
 */
export function unhidden<T>(worktree: Repository, work: (options: GitOptions) => Promise<T>): Promise<T> {
  const { root, git_dir } = worktree;
  return aside(async (dir) => {
    const index_file = join(dir, 'index');
    copyIndex(join(git_dir, 'index'), index_file);
    const instead = { git_dir, work_tree: root, index_file };
    const options: GitOptions = { cwd: root, settings: NOTHING_HIDDEN, instead };
    const refreshed = await git(['update-index', '-q', '--unmerged', '--really-refresh'], options);
    // 1: some have changed.
    if (refreshed.code > 1) throw gitFailed(`look at hidden files in ${root}`, refreshed);
    return work(options);
  });
}

/** Older than the original, so that git looks into every file that may have changed within the same moment. */
function copyIndex(from: string, to: string): void {
  try {
    const seconds = Math.floor(statSync(from).mtimeMs / 1_000) - 1;
    copyFileSync(from, to);
    utimesSync(to, seconds, seconds);
  } catch (error) {
    throw systemError(error, `copy the index ${from}`);
  }
}
