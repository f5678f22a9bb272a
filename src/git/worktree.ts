import { isAbsolute } from 'node:path';
import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { quoted } from '../model/shell.ts';
import { moveAside, removeTree } from '../sys/discard.ts';
import { factsAt, type WorkFacts } from './facts.ts';
import { gitPatiently, isContention, MAX_ATTEMPTS, pause } from './patient.ts';
import { COMMIT_ID, openRepository, type Repository, realDirectory, resolveCommit } from './repository.ts';
import { type GitResult, git, gitFailed, gitOutput } from './run.ts';
import { submoduleWork } from './submodule-work.ts';

/** A large checkout is slow; a stuck one must still end. */
const CHECKOUT_TIMEOUT_MS = 600_000;

interface NewWorktree {
  repo_root: string;
  /** Absolute; nothing may be there but an empty directory. Missing parents are created. */
  path: string;
  /** Made by this call. */
  branch: string;
  /** Full id. A name could mean another commit by now, or a half-rebased HEAD. */
  base_commit: string;
  clock: Clock;
}

/**
 * Creates a branch and a worktree on it (E-175). No filters and no hooks run; the branch tracks nothing, because
 * writing that down is what parallel calls would fight over. A lost fight for a lock is tried again, at most 8 times.
 * After an error neither branch nor worktree is left.
 * Errors: `usage` / `branch_invalid`, `worktree_path_invalid`; `refused` / `branch_exists`, `worktree_exists`;
 * `not_found` / `base_not_found`; `failed` / `git_failed`; those of `git`.
 */
export async function addWorktree(wanted: NewWorktree): Promise<void> {
  await checkWanted(wanted);
  let force: string[] = [];
  for (let attempt = 1; ; attempt += 1) {
    const { path, branch, base_commit, repo_root, clock } = wanted;
    const result = await git(['worktree', 'add', ...force, '--no-track', '-b', branch, '--', path, base_commit], {
      cwd: repo_root,
      timeout_ms: CHECKOUT_TIMEOUT_MS,
    });
    if (result.code === 0) return;
    const failure = await judgeAddFailure(wanted, result);
    if (!(failure instanceof AppError && failure.code === 'branch_exists')) await dropNewBranch(wanted);
    if (failure instanceof AppError) throw failure;
    if (attempt === MAX_ATTEMPTS) throw gitFailed(`add the worktree ${path}`, result);
    // The directory is gone, only git's note about it is left; the branch is new, so nothing else is overruled.
    if (failure === 'stale_entry') force = ['-f'];
    else await clock.sleep(pause(attempt));
  }
}

const MAX_SLUG = 40;

/**
 * `<prefix>/<slug>-<suffix>`, valid for git whatever goes in (E-175). `suffix` makes it unique (end of a session id);
 * `slug` is for people and may be any text; `prefix` may have several parts (`team/drover`) or be empty.
 */
export function branchName(prefix: string, slug: string, suffix: string): string {
  const folders = prefix.split('/').map((part) => plain(part));
  const last = plain(`${plain(slug).slice(0, MAX_SLUG)}-${suffix}`).toLowerCase();
  return [...folders, last === '' ? 'work' : last].filter((part) => part !== '').join('/');
}

function plain(text: string): string {
  return text
    .normalize('NFKD')
    .replace(/\p{Mark}+/gu, '')
    .replace(/[^A-Za-z0-9_]+/g, '-')
    .replace(/^-+|-+$/g, '');
}

/** Whether git accepts the name for a branch; names with a special meaning on a command line (`-x`, `HEAD`) are out. */
async function isBranchName(name: string, cwd: string): Promise<boolean> {
  if (name === 'HEAD' || name === '@' || name.startsWith('-') || name.includes('\0')) return false;
  return (await git(['check-ref-format', `refs/heads/${name}`], { cwd })).code === 0;
}

async function checkWanted({ repo_root, path, branch, base_commit }: NewWorktree): Promise<void> {
  if (!isAbsolute(path) || path.includes('\0')) {
    throw new AppError('usage', 'worktree_path_invalid', `not an absolute path: ${JSON.stringify(path)}`);
  }
  if (!(await isBranchName(branch, repo_root))) {
    throw new AppError('usage', 'branch_invalid', `${JSON.stringify(branch)} cannot be the name of a branch`, {
      hint: 'See git help check-ref-format.',
    });
  }
  if ((await resolveCommit(repo_root, `refs/heads/${branch}`)) !== null)
    throw await branchExists({ repo_root, branch });
  if (!COMMIT_ID.test(base_commit) || (await resolveCommit(repo_root, base_commit)) !== base_commit) {
    throw new AppError('not_found', 'base_not_found', `there is no commit ${JSON.stringify(base_commit)}`, {
      hint: 'Give the full id of a commit of this repository.',
    });
  }
}

/** The branch itself, or one that git would need as a folder, or one in the folder it would be. */
async function branchExists({ repo_root, branch }: Pick<NewWorktree, 'repo_root' | 'branch'>): Promise<AppError> {
  const parts = branch.split('/');
  const folders = parts.slice(0, -1).map((_part, i) => parts.slice(0, i + 1).join('/'));
  const args = ['for-each-ref', '--format=%(refname)', '--', `refs/heads/${parts[0]}`];
  const listed = await gitOutput(`look for branches like ${branch}`, args, { cwd: repo_root });
  const names = listed.split('\n').map((ref) => ref.replace(/^refs\/heads\//, ''));
  const found =
    names.find((name) => name === branch || folders.includes(name)) ??
    names.find((name) => name.startsWith(`${branch}/`)) ??
    branch;
  const rename = `git -C ${quoted(repo_root)} branch -m ${quoted(found)} ${quoted(`${found}-old`)}`;
  const isFolder = folders.includes(found);
  const other = isFolder ? 'choose another worktree.branch_prefix' : 'choose another name';
  return new AppError('refused', 'branch_exists', `the branch ${found} is in the way of ${branch}`, {
    hint: `Rename it (${rename}), or ${other}.`,
    preserved: 'nothing was changed',
    recovery_commands: [rename],
    data: { branch: found },
  });
}

async function judgeAddFailure(
  { repo_root, path, branch }: NewWorktree,
  result: GitResult,
): Promise<AppError | 'contention' | 'stale_entry'> {
  const { stderr } = result;
  if (/a branch named .* already exists|reference already exists|exists; cannot create/s.test(stderr)) {
    return branchExists({ repo_root, branch });
  }
  if (/is a missing but already registered worktree/.test(stderr)) return 'stale_entry';
  if (/fatal: '.*' already exists/s.test(stderr)) {
    return new AppError('refused', 'worktree_exists', `there is something at ${path} already`, { data: { path } });
  }
  if (isContention(result)) return 'contention';
  return gitFailed(`add the worktree ${path}`, result);
}

/** Git takes the directory back when an addition fails, but leaves the branch. Deleted only where we left it. */
async function dropNewBranch({ repo_root, branch, base_commit, clock }: NewWorktree): Promise<void> {
  const ref = `refs/heads/${branch}`;
  const format = '--format=%(refname) %(objectname) %(worktreepath)';
  const listed = await gitPatiently(['for-each-ref', format, '--', ref], { cwd: repo_root }, clock);
  if (listed.code !== 0) throw gitFailed(`look for the branch ${branch}`, listed);
  if (!listed.stdout.split('\n').includes(`${ref} ${base_commit} `)) return;
  const deleted = await gitPatiently(['update-ref', '--no-deref', '-d', ref, base_commit], { cwd: repo_root }, clock);
  if (deleted.code !== 0) throw gitFailed(`take back the branch ${branch}`, deleted);
}

interface OldWorktree {
  repo_root: string;
  path: string;
  clock: Clock;
}

/**
 * Removes a linked worktree that holds nothing of its own; the branch stays. Never by force. Ignored files go with it.
 * A directory somebody has deleted already is only forgotten.
 * Errors: `refused` / `worktree_dirty` (changes, an operation in progress, commits that no branch or tag holds),
 * `worktree_foreign` (the directory does not belong to `repo_root`, or is its main worktree); `not_found` /
 * `worktree_not_found`, `repository_not_found`; `failed` / `git_failed` (locked).
 */
export async function removeCleanWorktree({ repo_root, path, clock }: OldWorktree): Promise<void> {
  const repository = await openRepository(repo_root);
  const real = realDirectory(path);
  // The act runs inside the worktree: only there the configuration that will be in force can be read before.
  const cwd = real ?? repository.root;
  if (real !== null) await checkRemovable(repository, real);
  const options = { cwd, timeout_ms: CHECKOUT_TIMEOUT_MS };
  const result = await gitPatiently(['worktree', 'remove', '--', real ?? path], options, clock);
  if (result.code === 0) return;
  if (/is not a working tree/.test(result.stderr)) {
    throw new AppError('not_found', 'worktree_not_found', `${repo_root} has no worktree ${path}`);
  }
  if (/contains modified or untracked files/.test(result.stderr)) throw dirty(path, ['files changed just now']);
  if (real === null || !/containing submodules/.test(result.stderr))
    throw gitFailed(`remove the worktree ${path}`, result);
  await removeWithSubmodules(repository, real, clock);
}

/** Git itself never removes one with submodules in it, whatever they hold. */
async function removeWithSubmodules(repository: Repository, path: string, clock: Clock): Promise<void> {
  const { loss } = await submoduleWork(await openRepository(path));
  if (loss !== null) throw dirty(path, [loss]);
  const aside = moveAside(path);
  if (aside !== null) removeTree(aside);
  const result = await gitPatiently(['worktree', 'remove', '--', path], { cwd: repository.root }, clock);
  if (result.code !== 0) throw gitFailed(`forget the worktree ${path}`, result);
}

async function checkRemovable(repository: Repository, path: string): Promise<void> {
  const found = await openRepository(path);
  if (found.root !== path || found.common_dir !== repository.common_dir || found.git_dir === found.common_dir) {
    throw new AppError('refused', 'worktree_foreign', `${path} is not a linked worktree of ${repository.root}`, {
      preserved: 'nothing was removed',
      data: { root: found.root, common_dir: found.common_dir },
    });
  }
  const facts = await factsAt(found, null);
  if (facts === null) return;
  const reasons = [...unsavedWork(facts), ...((await holdsLoneCommits(path, facts)) ? ['commits on no branch'] : [])];
  if (reasons.length > 0) throw dirty(path, reasons);
}

function unsavedWork({ dirty, in_progress }: WorkFacts): string[] {
  const shown = dirty.slice(0, 5).map((file) => JSON.stringify(file));
  if (dirty.length > shown.length) shown.push('…');
  return [...(in_progress ? [`a ${in_progress} in progress`] : []), ...shown];
}

/** Commits that only this worktree's detached HEAD keeps alive. */
async function holdsLoneCommits(path: string, { head, branch }: WorkFacts): Promise<boolean> {
  if (head === null || branch !== null) return false;
  const args = ['rev-list', '--max-count=1', head, '--not', '--branches', '--tags', '--remotes'];
  return (await gitOutput(`look for commits of ${path}`, args, { cwd: path })).trim() !== '';
}

function dirty(path: string, reasons: string[]): AppError {
  return new AppError('refused', 'worktree_dirty', `the worktree ${path} holds work that is nowhere else`, {
    hint: 'Commit it to a branch, or remove the worktree yourself.',
    unsafe_condition: reasons.join(', '),
    would_change: `${path} would be deleted`,
    preserved: 'the worktree is untouched',
    data: { path },
  });
}
