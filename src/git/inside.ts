import { promises } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../model/error.ts';
import { fileExists, fileSize, isDirectory } from '../sys/directory.ts';
import { treeBytes } from '../sys/discard.ts';
import { errnoOf, systemError } from '../sys/errno.ts';
import { checkoutOf } from './common-dir.ts';
import { factsAt } from './facts.ts';
import { findRepository, type Repository } from './repository.ts';
import { git, gitFailed, gitOutput } from './run.ts';

const MAX_ENTRIES = 1_000_000;

/** One file, or one directory of which nothing else is ignored by its own name, that git ignores. */
interface IgnoredEntry {
  /** Relative to the worktree; a directory ends with a slash. */
  path: string;
  files: number;
  /** Of repositories in it, which cannot be saved as files. */
  nested: number;
}

/** What goes with a worktree although `git status` says nothing of it. */
export interface Inside {
  ignored: IgnoredEntry[];
  /** Working trees of other repositories, and bare ones that git ignores; relative paths. */
  nested: string[];
}

/**
 * Looks through all of a worktree for what git passes over in silence: ignored files, and repositories of their own at any
 * depth. Links are not followed. Errors: `too_many_files` (1), `git_failed`, those of `systemError`.
 */
export async function lookInside({ root }: Pick<Repository, 'root'>): Promise<Inside> {
  const ignored = (await ignoredPaths(root)).map((path): IgnoredEntry => ({ path, files: 0, nested: 0 }));
  const tops = new Map(ignored.map((entry) => [entry.path, entry]));
  const nested: string[] = [];
  const dirs: { path: string; top: IgnoredEntry | null }[] = [{ path: '', top: null }];
  let seen = 0;
  for (let dir = dirs.pop(); dir !== undefined; dir = dirs.pop()) {
    const { path, top } = dir;
    const entries = await entriesOf(root, path, top !== null);
    seen += entries.length;
    if (seen > MAX_ENTRIES) throw new AppError('failed', 'too_many_files', `there are too many files in ${root}`);
    const names = new Set(entries.map(({ name }) => name));
    const isBare = top !== null && ['HEAD', 'objects', 'refs'].every((name) => names.has(name));
    if (isBare || (path !== '' && names.has('.git') && isCheckout(join(root, path)))) {
      nested.push(path.replace(/\/$/, ''));
      if (top !== null) top.nested += 1;
    }
    for (const entry of entries) {
      const name = `${path}${entry.name}${entry.isDirectory() ? '/' : ''}`;
      const within = top ?? tops.get(name) ?? null;
      if (entry.isDirectory()) {
        if (entry.name !== '.git') dirs.push({ path: name, top: within });
      } else if (within !== null) within.files += 1;
    }
  }
  return { ignored: ignored.filter((entry) => entry.files + entry.nested > 0), nested: nested.sort() };
}

/** A directory that is gone by now has nothing in it; an ignored one that cannot be named cannot be looked at. */
async function entriesOf(root: string, path: string, is_ignored: boolean) {
  try {
    return await promises.readdir(join(root, path), { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && !(is_ignored && path.includes('\uFFFD'))) return [];
    throw systemError(error, `look into ${join(root, path)}`);
  }
}

/** Damaged ones count as well; a file that names a place where nothing is has no history. */
function isCheckout(path: string): boolean {
  const dir = path.replace(/\/$/, '');
  const found = checkoutOf(dir);
  if (found?.root !== dir) return false;
  return ['objects', 'HEAD', 'commondir'].some((name) => fileExists(join(found.git_dir, name)));
}

async function ignoredPaths(root: string): Promise<string[]> {
  const args = ['ls-files', '--others', '--ignored', '--exclude-standard', '--directory', '-z'];
  const result = await git(args, { cwd: root });
  if (result.code !== 0) throw gitFailed(`list the ignored files of ${root}`, result);
  if (result.truncated) throw new AppError('failed', 'too_many_files', `there are too many ignored files in ${root}`);
  return result.stdout.split('\0').filter((path) => path !== '');
}

/**
 * What would be lost with a repository inside of a worktree, in words; null when nothing: it has no changes and no commit
 * that its remote does not have, or, when its history lies elsewhere, none but that history's. Errors: those of `git`.
 */
export async function lossIn(worktree: Pick<Repository, 'root' | 'git_dir'>, name: string): Promise<string | null> {
  const path = join(worktree.root, name);
  const found = await findRepository(path);
  if (found === null || found.is_bare || found.root !== path) return 'it is bare, or git cannot read it';
  const facts = await factsAt(found, null);
  if (facts === null || facts.in_progress !== null) return `a ${facts?.in_progress} is in progress`;
  if (facts.dirty.length > 0) return `it has changes: ${facts.dirty.slice(0, 3).join(', ')}`;
  const { common_dir, head_commit } = found;
  const goes = [worktree.root, worktree.git_dir].some((dir) => `${common_dir}/`.startsWith(`${dir}/`));
  if (!goes && head_commit === null) return null;
  if (goes && isDirectory(join(common_dir, 'worktrees'))) return 'it has other worktrees';
  const kept = goes ? ['--all', '--not', '--remotes'] : ['HEAD', '--not', '--branches', '--remotes', '--tags'];
  const lone = await gitOutput(`look at ${path}`, ['rev-list', '--max-count=1', ...kept], { cwd: path });
  return lone.trim() === '' ? null : 'it has commits that are on no remote';
}

/** So much of what git ignores is saved. */
const MAX_SAVED = { files: 5_000, bytes: 64 * 1024 * 1024 };

/** Which ignored entries are saved, the small ones first, and which are too much or cannot be. */
export function divideIgnored(root: string, { ignored }: Inside): { save: IgnoredEntry[]; rest: IgnoredEntry[] } {
  const save: IgnoredEntry[] = [];
  const rest: IgnoredEntry[] = [];
  let { files, bytes } = MAX_SAVED;
  for (const entry of ignored.toSorted((a, b) => a.files - b.files)) {
    const size = entry.nested === 0 && entry.files <= files ? sizeOf(root, entry.path) : null;
    if (size === null || size > bytes) {
      rest.push(entry);
      continue;
    }
    files -= entry.files;
    bytes -= size;
    save.push(entry);
  }
  return { save, rest };
}

/** Bytes; null when it cannot be named. */
function sizeOf(root: string, path: string): number | null {
  if (path.includes('\uFFFD')) return null;
  return path.endsWith('/') ? treeBytes(join(root, path)) : fileSize(join(root, path));
}
