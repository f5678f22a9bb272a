import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { AppError } from '../model/error.ts';
import type { Anchor } from '../model/reservation.ts';
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

/** What is asked of a checkout, in this order. The last one names no path and is never left out. */
const QUESTIONS = [
  ...['--is-bare-repository', '--is-inside-work-tree', '--absolute-git-dir', '--path-format=absolute'],
  ...['--git-common-dir', '--show-toplevel', 'HEAD^{commit}', '--symbolic-full-name', 'HEAD'],
];

/**
 * The repository a directory lies in, or null: no such directory, no repository, or inside a `.git`.
 * Errors: those of `git`; `failed` / `git_failed` for a repository that git will not open (owner, configuration).
 */
export async function findRepository(dir: string): Promise<Repository | null> {
  const cwd = realDirectory(dir);
  if (cwd === null) return null;
  const asked = await git(['rev-parse', ...QUESTIONS], { cwd });
  if (asked.code !== 0 && asked.stderr.includes('not a git repository')) return null;
  return (asked.code === 0 ? readAnswers(asked.stdout) : null) ?? askOneByOne(cwd);
}

/**
 * A checkout with a commit, from one process. Null when there is another number of lines than questions, as when a path
 * contains a newline: where the last line is the name of HEAD, nothing was left unanswered, so no path had more than one.
 */
function readAnswers(stdout: string): Repository | null {
  const [bare, inside, git_dir = '', common_dir = '', root = '', head = '', name = '', ...rest] = stdout.split('\n');
  const is_whole = rest.length === 1 && rest[0] === '' && COMMIT_ID.test(head) && HEAD_NAME.test(name);
  if (!is_whole || bare !== 'false' || inside !== 'true') return null;
  const branch = name === 'HEAD' ? null : shortName(name);
  return repositoryOf({ root, common_dir, git_dir, is_bare: false, head_commit: head, branch });
}

/** Detached, or a branch; not one called HEAD, which git takes when the branch of HEAD has no commit. */
const HEAD_NAME = /^(?:HEAD$|refs\/heads\/(?!HEAD$))/;

/** Also what is bare, has no commit, or lies at a path with a newline in it. */
async function askOneByOne(cwd: string): Promise<Repository | null> {
  const kind = await git(['rev-parse', '--is-bare-repository', '--is-inside-work-tree'], { cwd });
  if (kind.code !== 0) {
    if (kind.stderr.includes('not a git repository')) return null;
    throw gitFailed(`open the repository at ${cwd}`, kind);
  }
  const [bare, inside] = kind.stdout.split('\n');
  const is_bare = bare === 'true' && inside === 'false';
  if (!is_bare && inside === 'false') return null;
  const ask = async (...options: string[]) =>
    (await gitOutput(`describe ${cwd}`, ['rev-parse', ...options], { cwd })).replace(/\n$/, '');
  const [git_dir, common_dir, ref] = await Promise.all([
    ask('--absolute-git-dir'),
    ask('--path-format=absolute', '--git-common-dir'),
    currentRef(cwd),
  ]);
  const head_commit = await resolveCommit(cwd, ref ?? 'HEAD');
  const branch = ref === null ? null : shortName(ref);
  const root = is_bare ? common_dir : await ask('--show-toplevel');
  return repositoryOf({ root, common_dir, git_dir, is_bare, head_commit, branch });
}

function repositoryOf(found: Omit<Repository, 'main_root' | 'is_unfinished'>): Repository {
  const { root, git_dir, common_dir } = found;
  const is_unfinished = readTextIfExists(join(git_dir, 'locked'))?.trim() === UNFINISHED;
  return { ...found, main_root: mainRoot(root, git_dir, common_dir), is_unfinished };
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

/** The branch HEAD is on, also before its first commit; null when HEAD is detached. */
async function currentRef(cwd: string): Promise<string | null> {
  const result = await git(['symbolic-ref', '--quiet', 'HEAD'], { cwd });
  return result.code === 0 ? result.stdout.trimEnd() : null;
}

/** Not git's own, which says `heads/main` when there is a tag `main` as well. */
function shortName(ref: string): string {
  return ref.replace(/^refs\/(?:heads\/)?/, '');
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

/** Ids of a commit and its tree, whole and short. Errors: those of `git`. */
export async function describeCommit(root: string, commit: string): Promise<Anchor> {
  const args = ['log', '--max-count=1', '--no-decorate', '--format=%H %h %T %t', '--end-of-options', commit];
  const ids = (await gitOutput(`describe ${commit}`, args, { cwd: root })).trim().split(' ');
  const [full = commit, commit_short = '', tree = '', tree_short = ''] = ids;
  return { commit: full, commit_short, tree, tree_short };
}

/** The repository at a path. Errors: `not_found` / `repository_not_found`; those of `findRepository`. */
export async function openRepository(dir: string): Promise<Repository> {
  const repository = await findRepository(dir);
  if (repository) return repository;
  throw new AppError('not_found', 'repository_not_found', `there is no git repository at ${dir}`);
}
