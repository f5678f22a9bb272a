import { mkdirSync, mkdtempSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDirectory } from '../sys/directory.ts';
import { removeTree } from '../sys/discard.ts';
import { systemError } from '../sys/errno.ts';
import { checkoutOf } from './common-dir.ts';
import { type GitOptions, gitOutput } from './run.ts';

/**
 * A directory of our own for what git must not write into anybody's checkout; gone when `work` ends. One that a killed
 * process left is empty of anything but copies.
 */
export async function aside<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = newDirectory();
  try {
    return await work(dir);
  } finally {
    removeTree(dir);
  }
}

function newDirectory(): string {
  try {
    return mkdtempSync(join(realpathSync(tmpdir()), 'drover-git-'));
  } catch (error) {
    throw systemError(error, `make a directory in ${tmpdir()}`);
  }
}

/**
 * Runs `work` with options for a git that knows the repository that holds `repo_root`, but none of its checkouts: the
 * working tree is empty and new, the index is missing. There is a second one of the same kind, to be left empty. Without
 * `keep_objects` new objects stay out of the repository, too. Errors: those of `gitOutput`, `systemError`.
 */
export async function asideFrom<T>(
  repo_root: string,
  work: (place: Place, empty: Place) => Promise<T>,
  options: { keep_objects?: boolean } = {},
): Promise<T> {
  const git_dir = await commonDirOf(repo_root);
  return aside((dir) => {
    const objects = { dir: makeRoom(dir, 'objects'), alternate: join(git_dir, 'objects') };
    const at = (name: string): Place => {
      const work_tree = makeRoom(dir, name);
      const instead = { git_dir, work_tree, index_file: join(dir, `${name}.index`) };
      return { cwd: work_tree, instead: { ...instead, ...(options.keep_objects ? {} : { objects }) } };
    };
    return work(at('tree'), at('empty'));
  });
}

type Place = Required<Pick<GitOptions, 'cwd' | 'instead'>>;

/** Read from the two files that say so, without a process, where they are as usual. */
async function commonDirOf(repo_root: string): Promise<string> {
  const found = checkoutOf(repo_root);
  if (found !== null && isDirectory(join(found.common_dir, 'objects'))) return found.common_dir;
  const args = ['rev-parse', '--path-format=absolute', '--git-common-dir'];
  return (await gitOutput(`open the repository at ${repo_root}`, args, { cwd: repo_root })).replace(/\n$/, '');
}

function makeRoom(dir: string, name: string): string {
  const path = join(dir, name);
  try {
    mkdirSync(path);
    return path;
  } catch (error) {
    throw systemError(error, `make the directory ${path}`);
  }
}
