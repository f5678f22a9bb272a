import { AppError } from '../model/error.ts';
import { syncRepository } from './durable.ts';
import { checkRoom, type FileStep, fileSteps } from './file-changes.ts';
import { inTheWay, untrackedIn } from './in-the-way.ts';
import { checkCommitIds, isAncestor } from './merge-base.ts';
import { openWorktree } from './open-worktree.ts';
import { isIndexLocked, operationUnderWay } from './operation.ts';
import { unquotePath } from './quoted-path.ts';
import { type GitOptions, type GitResult, git, gitFailed, gitOutput, judgedOverrides } from './run.ts';
import { undoCheckout } from './undo-checkout.ts';

const TIMEOUT_MS = 600_000;

interface Forward {
  /** Top of a checkout that is on the branch. */
  path: string;
  branch: string;
  from: string;
  to: string;
}

/** What stands in the way: paths from the top of the checkout; a folder may stand for what is in it. */
interface Dirty {
  in_the_way: string[];
}

/** All that a repository could make of a merge into its branch by configuration, taken back. */
const MERGE = [
  'merge',
  '--ff-only',
  '--commit',
  '--quiet',
  ...['--no-squash', '--no-edit', '--no-stat', '--no-log', '--no-signoff', '--no-autostash', '--no-verify'],
  ...['--no-verify-signatures', '--no-progress'],
  // Ignored files are somebody's, too: .env, notes, a database.
  '--no-overwrite-ignore',
];

/**
 * Fast-forwards files, index and branch of a checkout together, if nothing is in the way; else nothing is touched:
 * `moved` (not on the branch at `from`), `busy` (an operation under way, or another git at work), `Dirty` (changes, or
 * a file, ignored or not, where the new commit has one). The move survives a power loss.
 * Errors: `refused` / `not_fast_forward`; `unavailable` / `disk_full`; `failed` / `checkout_half_done`; those of
 * `openWorktree`, `mergeBases`, `gitFailed`.
 */
export async function forwardCheckout(wanted: Forward): Promise<'forwarded' | 'moved' | 'busy' | Dirty> {
  const { path, branch, from, to } = wanted;
  checkCommitIds(from, to);
  const { root, git_dir, branch: current, head_commit } = await openWorktree(path);
  if (operationUnderWay(git_dir) !== null || isIndexLocked(git_dir)) return 'busy';
  if (current !== branch || head_commit !== from) return 'moved';
  const [is_ahead, judged] = await Promise.all([isAncestor(root, from, to), judgedOverrides({ cwd: root })]);
  if (!is_ahead) throw notFastForward(from, to);
  const options: GitOptions = { cwd: root, timeout_ms: TIMEOUT_MS, judged };
  const [changed, untracked, steps] = await Promise.all([
    changedIn(options),
    untrackedIn(options),
    fileSteps(options, from, to),
  ]);
  const come = steps.filter(({ kind }) => kind === 'create').map(({ quoted }) => unquotePath(quoted));
  const in_the_way = [...changed, ...inTheWay(root, untracked, come)];
  if (in_the_way.length > 0) return { in_the_way };
  await checkRoom(options, git_dir, steps);
  const result = await merge(options, from, to, steps);
  if (result.code === 0) {
    await syncRepository(root);
    return 'forwarded';
  }
  if (isRefusal(result)) return { in_the_way: namedIn(result) };
  if (/index\.lock': File exists/.test(result.stderr)) return 'busy';
  if (/Not possible to fast-forward/.test(result.stderr)) return 'moved';
  await takeBack(root, from, steps);
  throw gitFailed(`fast-forward ${path}`, result);
}

async function merge(options: GitOptions, from: string, to: string, steps: readonly FileStep[]): Promise<GitResult> {
  try {
    return await git([...MERGE, to], options);
  } catch (error) {
    await takeBack(options.cwd, from, steps);
    throw error;
  }
}

/** Git looks at all files before it touches the first. */
function isRefusal({ stderr }: GitResult): boolean {
  return /would be (?:overwritten|removed)|would lose untracked files/.test(stderr);
}

/** Git names them one per line, after a tab: also those whose changes are hidden from `git status`. */
function namedIn({ stderr }: GitResult): string[] {
  return stderr.split('\n').flatMap((line) => (line.startsWith('\t') ? [line.slice(1)] : []));
}

/** Errors: `failed` / `checkout_half_done` when it cannot be taken back. */
async function takeBack(root: string, from: string, steps: readonly FileStep[]): Promise<void> {
  const options: GitOptions = { cwd: root, timeout_ms: TIMEOUT_MS };
  try {
    const { head_commit } = await openWorktree(root);
    if (head_commit !== from) throw new AppError('failed', 'branch_moved', `${root} is no longer at ${from}`);
    await undoCheckout(root, steps, options);
    if ((await changedIn(options)).length === 0) return;
    throw new AppError('failed', 'still_changed', `${root} has changed files`);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw new AppError('failed', 'checkout_half_done', `${root} was left between ${from} and the next commit`, {
      hint: 'There were no changes of yours in these files; git restore brings them back.',
      preserved: 'the branch and all commits',
      recovery_commands: [`git -C ${JSON.stringify(root)} status`, `git -C ${JSON.stringify(root)} restore .`],
      data: { path: root, because: error.message },
    });
  }
}

async function changedIn(options: GitOptions): Promise<string[]> {
  const args = ['status', '--porcelain', '-z', '--no-renames', '--untracked-files=no'];
  const entries = await gitOutput(`read the status of ${options.cwd}`, args, options);
  return entries.split('\0').flatMap((entry) => (entry === '' ? [] : [entry.slice(3)]));
}

function notFastForward(from: string, to: string): AppError {
  return new AppError('refused', 'not_fast_forward', `${to} does not contain ${from}`, {
    hint: 'Merge first.',
    preserved: 'the checkout is untouched',
    data: { from, to },
  });
}
