import { copyFileSync, lstatSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from '../sys/errno.ts';
import { DURABLE } from './durable.ts';
import { takeExactBytes } from './exact-bytes.ts';
import { pathBytes, unquotePath, wrapPath } from './quoted-path.ts';
import type { Repository } from './repository.ts';
import { type GitOptions, git, gitFailed, gitOutput } from './run.ts';

const TIMEOUT_MS = 600_000;

export interface WholeTree {
  /** Tree of the files as they stand, tracked and new; ignored ones only if they are tracked. */
  files: string;
  /** Tree of the index, if it has something that neither `files` nor HEAD has; null also while it has conflicts. */
  staged: string | null;
  /** What is left out: the `.git` of repositories inside (`name/.git/`), and the files of submodules (`name/`). */
  left_out: string[];
}

/** Nothing that changes or leaves out bytes on their way into the object store. */
const AS_IT_IS: readonly (readonly [key: string, value: string])[] = [
  ...DURABLE,
  ['core.autocrlf', 'false'],
  ['core.safecrlf', 'false'],
  ['core.untrackedCache', 'false'],
  ['core.splitIndex', 'false'],
  ['core.quotePath', 'true'],
  ['add.ignoreErrors', 'false'],
  ['advice.addEmbeddedRepo', 'false'],
];

/**
 * Writes all that is in a worktree into its repository as trees, by way of the index file `index_file` (to be made)
 * instead of its own. Errors: those of `git`, `gitFailed`; a file that cannot be read fails the whole.
 */
export async function writeWholeTree(worktree: Repository, index_file: string): Promise<WholeTree> {
  const { root, git_dir, head_commit } = worktree;
  const instead = { git_dir, work_tree: root, index_file };
  const options: Place = { cwd: root, timeout_ms: TIMEOUT_MS, settings: AS_IT_IS, instead };
  await copyIndex(worktree, options);
  const written = await git(['write-tree'], options);
  if (written.code !== 0 && !/unmerged/.test(written.stderr)) throw gitFailed(`save the index of ${root}`, written);
  const staged = written.code === 0 ? written.stdout.trim() : null;
  await unhide(options);
  const nested = await addEverything(options);
  await takeExactBytes(options);
  const files = await writeTree(options);
  const is_worth_it = staged !== null && staged !== files && (await hasOfItsOwn(staged, files, head_commit, options));
  return {
    files,
    staged: is_worth_it ? staged : null,
    left_out: [...nested, ...(await populatedLinks(options))],
  };
}

/**
 * The same for paths that git ignores, alone: a tree of these files, directories with all that is in them. `index_file` is
 * to be made. Errors: as `writeWholeTree`.
 */
export async function writeIgnoredTree(
  { root, git_dir }: Repository,
  index_file: string,
  paths: readonly string[],
): Promise<string> {
  const options: Place = {
    ...{ cwd: root, timeout_ms: TIMEOUT_MS, settings: AS_IT_IS },
    instead: { git_dir, work_tree: root, index_file },
  };
  const stdin = paths.map((path) => `:(top,literal)${path}\0`).join('');
  const add = ['add', '--force', '--sparse', '--pathspec-from-file=-', '--pathspec-file-nul'];
  await gitOutput(`save the ignored files of ${root}`, add, { ...options, stdin });
  await takeExactBytes(options);
  return writeTree(options);
}

type Place = GitOptions & { instead: { git_dir: string; work_tree: string; index_file: string } };

/** The worktree's own index, with a time that makes git look at the content of every file; else one made from HEAD. */
async function copyIndex({ git_dir, head_commit }: Repository, options: Place): Promise<void> {
  const { index_file } = options.instead;
  try {
    copyFileSync(join(git_dir, 'index'), index_file);
    utimesSync(index_file, 1, 1);
    if ((await git(['ls-files', '--unmerged'], options)).code === 0) return;
    rmSync(index_file);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw systemError(error, `copy the index of ${options.cwd}`);
  }
  if (head_commit !== null) await gitOutput('make an index', ['read-tree', head_commit], options);
}

/** Entries may be marked as never changed, or as not wanted in the working tree; what is there counts nevertheless. */
async function unhide(options: Place): Promise<void> {
  const listing = await listed(['ls-files', '-v'], options);
  const entries = listing.map((line) => ({ tag: line[0] ?? '', path: line.slice(2) }));
  const trusted = entries.filter(({ tag }) => /[a-z]/.test(tag));
  const skipped = entries.filter(({ tag, path }) => /[Ss]/.test(tag) && isThere(options.cwd, path));
  await update('--no-assume-unchanged', trusted, options);
  await update('--no-skip-worktree', skipped, options);
}

async function update(how: string, entries: readonly { path: string }[], options: Place): Promise<void> {
  if (entries.length === 0) return;
  const stdin = `${entries.map(({ path }) => path).join('\n')}\n`;
  await gitOutput('look at hidden files', ['update-index', how, '--stdin'], { ...options, stdin });
}

const MAX_DEPTH = 8;

/**
 * Adds all files, those of repositories inside as well: git itself would only note the commit they are at. Returns the
 * paths of their `.git`, which cannot be saved this way.
 */
async function addEverything(options: Place, depth = 0): Promise<string[]> {
  const what = `save the files of ${options.cwd}`;
  const others = await listed(['ls-files', '--others', '--exclude-standard'], options);
  const nested = others.filter((path) => /\/"?$/.test(path));
  const paths = [':/', ...nested.map((path) => wrapPath(':(top,exclude,literal)', path))];
  const add = ['add', '--all', '--sparse', '--pathspec-from-file=-'];
  await gitOutput(what, add, { ...options, stdin: `${paths.join('\n')}\n` });
  const unsaved: string[] = [];
  for (const [i, quoted] of nested.entries()) {
    const path = unquotePath(quoted);
    unsaved.push(`${path}.git/`);
    // An argument cannot hold what is no UTF-8.
    if (depth === MAX_DEPTH || !pathBytes(quoted).equals(Buffer.from(path))) {
      unsaved.push(path);
      continue;
    }
    const work_tree = join(options.cwd, path);
    const index_file = `${options.instead.index_file}.${i}`;
    const inner = { ...options, cwd: work_tree, instead: { ...options.instead, work_tree, index_file } };
    unsaved.push(...(await addEverything(inner, depth + 1)).map((found) => `${path}${found}`));
    await gitOutput(what, ['read-tree', `--prefix=${path}`, await writeTree(inner)], options);
  }
  return unsaved;
}

/** Submodules with files in them: of these the tree has the commit only. */
async function populatedLinks(options: Place): Promise<string[]> {
  const links = (await listed(['ls-files', '--stage'], options)).filter((line) => line.startsWith('160000 '));
  return links
    .map((line) => line.slice(line.indexOf('\t') + 1))
    .filter((path) => isThere(options.cwd, wrapPath('', path, '/.git')))
    .map((path) => `${unquotePath(path)}/`);
}

async function listed(args: readonly string[], options: Place): Promise<string[]> {
  const result = await git(args, options);
  if (result.code !== 0) throw gitFailed(`list the files of ${options.cwd}`, result);
  if (result.truncated) throw new AppError('failed', 'too_many_files', `there are too many files in ${options.cwd}`);
  return result.stdout.split('\n').filter((line) => line !== '');
}

async function writeTree(options: Place): Promise<string> {
  return (await gitOutput(`save the files of ${options.cwd}`, ['write-tree'], options)).trim();
}

/** Whether something is staged that neither the files nor HEAD have. */
async function hasOfItsOwn(staged: string, files: string, head: string | null, options: Place): Promise<boolean> {
  const changed = async (from: string, to: string) => {
    const args = ['diff-tree', '-r', '--no-renames', '--diff-filter=MDT', '--name-only', '-z', from, to];
    return (await gitOutput('compare what is staged', args, options)).split('\0').filter((path) => path !== '');
  };
  const unlike_files = await changed(staged, files);
  if (head === null || unlike_files.length === 0) return unlike_files.length > 0;
  const unlike_head = new Set(await changed(staged, head));
  return unlike_files.some((path) => unlike_head.has(path));
}

function isThere(dir: string, quoted: string): boolean {
  try {
    return (
      lstatSync(Buffer.concat([Buffer.from(`${dir}/`), pathBytes(quoted)]), { throwIfNoEntry: false }) !== undefined
    );
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return false;
    throw systemError(error, `look at ${unquotePath(quoted)}`);
  }
}
