import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import { checkoutOf } from './common-dir.ts';
import { DURABLE, syncRepository } from './durable.ts';
import { checkCommitIds } from './merge-base.ts';
import { gitPatiently } from './patient.ts';
import { COMMIT_ID, realDirectory } from './repository.ts';
import { type GitResult, git, gitFailed, gitOutput } from './run.ts';

export { forwardCheckout } from './forward.ts';
export { isAncestor } from './merge-base.ts';

/** Full id of the commit a local branch is at; null when there is no such branch. Errors: those of `git`, `gitFailed`. */
export async function branchHead(repo_root: string, branch: string): Promise<string | null> {
  // Not rev-parse: to that, main~1 and main@{1} are something as well.
  const result = await git(['show-ref', '--verify', '--hash', '--', `refs/heads/${branch}`], { cwd: repo_root });
  if (result.code !== 0) {
    if (/not a valid ref/.test(result.stderr)) return null;
    throw gitFailed(`look up the branch ${branch}`, result);
  }
  const id = result.stdout.trim();
  if (!COMMIT_ID.test(id)) throw gitFailed(`look up the branch ${branch}`, result);
  return id;
}

interface Advance {
  repo_root: string;
  branch: string;
  /** Where it has to be; null: it must not exist. */
  from: string | null;
  to: string;
  clock: Clock;
}

/**
 * Moves a branch in one step, only if it still is where it was when that was judged (I21): `moved` when it is not, and
 * then nothing was written. The move survives a power loss. Checkouts of the branch are not touched (`forwardCheckout`).
 * Errors: `usage` / `branch_invalid`, `commit_invalid`; `not_found` / `commit_not_found`; `refused` / `branch_in_the_way`,
 * `branch_symbolic`; those of `gitFailed` (`permission_denied`, `read_only_filesystem`, `disk_full`).
 */
export async function advanceBranch({ repo_root, branch, from, to, clock }: Advance): Promise<'advanced' | 'moved'> {
  checkCommitIds(to, ...(from === null ? [] : [from]));
  const ref = `refs/heads/${branch}`;
  await checkPlainRef(repo_root, branch, ref);
  const old = from ?? '0'.repeat(to.length);
  const args = ['update-ref', '--create-reflog', '-m', 'drover: merge', ref, to, old];
  const result = await gitPatiently(args, { cwd: repo_root, settings: DURABLE }, clock);
  if (result.code === 0) {
    await syncRepository(repo_root);
    return 'advanced';
  }
  const failure = judgeAdvance(branch, to, result);
  if (failure !== null) throw failure;
  if ((await branchHead(repo_root, branch)) !== from) return 'moved';
  throw gitFailed(`move the branch ${branch}`, result);
}

/** Through a symbolic one, the checkouts of another branch would fall behind; written to, it would lose its meaning. */
async function checkPlainRef(repo_root: string, branch: string, ref: string): Promise<void> {
  const symbolic = await git(['symbolic-ref', '--quiet', ref], { cwd: repo_root });
  if (symbolic.code !== 0) return;
  const target = symbolic.stdout.trim().replace(/^refs\/heads\//, '');
  throw new AppError('refused', 'branch_symbolic', `${branch} is only another name for ${target}`, {
    hint: `Name ${target} instead.`,
    preserved: 'nothing was changed',
  });
}

function judgeAdvance(branch: string, to: string, { stderr }: GitResult): AppError | null {
  if (/bad name|invalid ref format|not a valid ref/i.test(stderr)) {
    return new AppError('usage', 'branch_invalid', `${JSON.stringify(branch)} cannot be the name of a branch`);
  }
  if (/nonexistent object|non-commit object|not a valid (?:SHA1|object)/i.test(stderr)) {
    return new AppError('not_found', 'commit_not_found', `there is no commit ${to}`, { data: { commit: to } });
  }
  if (/exists; cannot create/.test(stderr)) {
    return new AppError('refused', 'branch_in_the_way', `a branch is in the way of ${branch}`, {
      hint: 'Choose another name: a branch cannot be a folder of branches as well.',
      preserved: 'nothing was changed',
    });
  }
  return null;
}

/**
 * Tops of the worktrees that have the branch checked out, those included that are in the middle of rebasing or bisecting
 * it. Directories that are gone are not among them. Errors: those of `git`, `gitFailed`.
 */
export async function checkoutsOf(repo_root: string, branch: string): Promise<string[]> {
  const listing = await gitOutput('list the worktrees', ['worktree', 'list', '--porcelain', '-z'], { cwd: repo_root });
  const ref = `refs/heads/${branch}`;
  return listing
    .split('\0\0')
    .map((entry) => entry.split('\0'))
    .map((lines) => ({ path: lines[0]?.replace(/^worktree /, '') ?? '', is_on: lines.includes(`branch ${ref}`) }))
    .filter(({ path }) => path !== '' && realDirectory(path) !== null)
    .filter(({ path, is_on }) => is_on || isBusyWith(path, branch))
    .map(({ path }) => path);
}

function isBusyWith(path: string, branch: string): boolean {
  const git_dir = checkoutOf(path)?.git_dir;
  if (git_dir === undefined) return false;
  const says = (file: string) => readTextIfExists(`${git_dir}/${file}`)?.trim();
  const ref = `refs/heads/${branch}`;
  return (
    says('rebase-merge/head-name') === ref || says('rebase-apply/head-name') === ref || says('BISECT_START') === branch
  );
}
