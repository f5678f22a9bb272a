import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from '../sys/errno.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import { git, gitFailed, gitOutput } from './run.ts';

/** All paths are absolute and free of symbolic links. */
export interface Repository {
  /** Top of the worktree that holds the directory; of a bare repository its own directory. */
  root: string;
  /** Top of the repository's main worktree: `root` itself unless that is a linked one. */
  main_root: string;
  /** What all worktrees share (refs, objects, configuration). */
  common_dir: string;
  /** What this worktree has of its own (HEAD, index, a rebase in progress). */
  git_dir: string;
  is_bare: boolean;
  /** `git worktree add` has not come to its end here: files may still be missing that nobody deleted. */
  is_unfinished: boolean;
  /** Null before the first commit. */
  head_commit: string | null;
  /** Short name; null when HEAD is detached. */
  branch: string | null;
}

/** The reason git locks a worktree with while it makes it (our git speaks English). */
const UNFINISHED = 'initializing';

/**
 * The repository a directory lies in, or null: no such directory, no repository, or inside a `.git`.
 * Errors: those of `git`; `failed` / `git_failed` for a repository that git will not open (owner, configuration).
 */
export async function findRepository(dir: string): Promise<Repository | null> {
  const cwd = realDirectory(dir);
  if (cwd === null) return null;
  const kind = await git(['rev-parse', '--is-bare-repository', '--is-inside-work-tree'], { cwd });
  if (kind.code !== 0) {
    if (kind.stderr.includes('not a git repository')) return null;
    throw gitFailed(`open the repository at ${cwd}`, kind);
  }
  const [bare, inside] = kind.stdout.split('\n');
  const is_bare = bare === 'true' && inside === 'false';
  if (!is_bare && inside === 'false') return null;
  // One call per path: a path may contain a newline.
  const ask = async (...options: string[]) =>
    (await gitOutput(`describe ${cwd}`, ['rev-parse', ...options], { cwd })).replace(/\n$/, '');
  const [git_dir, common_dir, head_commit, branch] = await Promise.all([
    ask('--absolute-git-dir'),
    ask('--path-format=absolute', '--git-common-dir'),
    resolveCommit(cwd, 'HEAD'),
    currentBranch(cwd),
  ]);
  const root = is_bare ? common_dir : await ask('--show-toplevel');
  const is_unfinished = readTextIfExists(join(git_dir, 'locked'))?.trim() === UNFINISHED;
  const main_root = mainRoot(root, git_dir, common_dir);
  return { root, main_root, common_dir, git_dir, is_bare, is_unfinished, head_commit, branch };
}

function mainRoot(root: string, git_dir: string, common_dir: string): string {
  if (git_dir === common_dir) return root;
  return basename(common_dir) === '.git' ? dirname(common_dir) : common_dir;
}

/** The real path of a directory, or null when there is none. */
export function realDirectory(dir: string): string | null {
  try {
    const path = realpathSync(dir);
    return statSync(path).isDirectory() ? path : null;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw systemError(error, `look at ${dir}`);
  }
}

/** Short name of the branch HEAD is on, also before its first commit; null when HEAD is detached. */
async function currentBranch(cwd: string): Promise<string | null> {
  const result = await git(['symbolic-ref', '--quiet', '--short', 'HEAD'], { cwd });
  return result.code === 0 ? result.stdout.trimEnd() : null;
}

/** Full id of a commit object, SHA-1 or SHA-256. */
export const COMMIT_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/**
 * The commit a name stands for (branch, tag, abbreviated id, `HEAD~2`, …) as a full id, or null when it names none.
 * Text that looks like an option is just a name that does not exist. Errors: those of `git`.
 */
export async function resolveCommit(root: string, ref: string): Promise<string | null> {
  if (ref === '' || ref.includes('\0')) return null;
  const result = await git(['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`], { cwd: root });
  const id = result.stdout.trim();
  return result.code === 0 && COMMIT_ID.test(id) ? id : null;
}

/** The repository at a path. Errors: `not_found` / `repository_not_found`; those of `findRepository`. */
export async function openRepository(dir: string): Promise<Repository> {
  const repository = await findRepository(dir);
  if (repository) return repository;
  throw new AppError('not_found', 'repository_not_found', `there is no git repository at ${dir}`);
}
