import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { foldersOf } from '../model/path.ts';
import { errnoOf, systemError } from '../sys/errno.ts';
import { type GitOptions, gitOutput } from './run.ts';

/** Files of the worktree `cwd` that are in no commit, ignored ones included; a folder of nothing else is one entry (`name/`). */
export function untrackedIn(options: GitOptions): Promise<string[]> {
  return listed(options, ['ls-files', '--others', '--directory', '--no-empty-directory', '-z']);
}

/** Paths that came on the way from `base` to `head`, gone again or not: a rebase writes all of them. */
export function cameOnTheWay(options: GitOptions, base: string, head: string): Promise<string[]> {
  const names = ['--format=', '-m', '--no-renames', '--diff-filter=AT', '--name-only', '-z'];
  return listed(options, ['log', ...names, `${base}..${head}`]);
}

async function listed(options: GitOptions, args: readonly string[]): Promise<string[]> {
  const text = await gitOutput(`look for files in the way in ${options.cwd}`, args, options);
  return text.split('\0').filter((path) => path !== '');
}

/** Those of the untracked files that would have to go for `paths` to be written. To git, ignored files are nobody's. */
export function inTheWay(root: string, untracked: readonly string[], paths: readonly string[]): string[] {
  const folders = untracked.filter((path) => path.endsWith('/'));
  const files = new Set(untracked.filter((path) => !path.endsWith('/')));
  const found = new Set<string>();
  for (const path of paths) {
    for (const part of [path, ...foldersOf(path)]) if (files.has(part)) found.add(part);
    // A folder with such files in it becomes a file.
    for (const file of untracked) if (file.startsWith(`${path}/`)) found.add(file);
    if (folders.some((folder) => path.startsWith(folder)) && isTaken(root, path)) found.add(path);
  }
  return [...found];
}

/** Names that cannot be told are taken. */
function isTaken(root: string, path: string): boolean {
  if (path.includes('\ufffd')) return true;
  try {
    return lstatSync(join(root, path), { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return true;
    throw systemError(error, `look at ${path}`);
  }
}
