import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { identitySettings } from './commit-tree.ts';
import { DURABLE, syncRepository } from './durable.ts';
import { workFacts } from './facts.ts';
import { checkRoom, fileSteps } from './file-changes.ts';
import { cameOnTheWay, inTheWay, untrackedIn } from './in-the-way.ts';
import { checkCommitIds, isAncestor, mergeBases } from './merge-base.ts';
import { missingLines } from './merge-commit.ts';
import { predictMerge } from './merge-tree.ts';
import { openWorktree } from './open-worktree.ts';
import { operationUnderWay } from './operation.ts';
import { gitPatiently } from './patient.ts';
import { unquotePath } from './quoted-path.ts';
import { type Repository, resolveCommit } from './repository.ts';
import { type GitOptions, git, gitFailed, gitOutput } from './run.ts';
import { undoCheckout } from './undo-checkout.ts';

const TIMEOUT_MS = 600_000;
const MAX_MESSAGE = 4_096;

type RebaseOutcome = { outcome: 'rebased' | 'up_to_date' } | { outcome: 'conflict'; message: string };

/** Everything a configuration could add to a rebase, taken back; commits are kept even if others were like them. */
const REBASE = [
  'rebase',
  '--merge',
  ...['--no-autostash', '--no-autosquash', '--no-update-refs', '--no-fork-point', '--no-rebase-merges'],
  ...['--no-verify', '--no-gpg-sign', '--no-rerere-autoupdate', '--no-stat', '--quiet'],
  ...['--reapply-cherry-picks', '--empty=drop'],
];

/**
 * Rebases the branch of a clean linked worktree onto a commit (full id). After a conflict, or any error, the worktree is
 * as it was. No hooks, no editor.
 * Errors: `refused` / `operation_in_progress`, `head_detached`, `no_commit_yet`, `worktree_dirty`, `ignored_in_the_way`,
 * `main_worktree`;
 * those of `openWorktree`, `mergeBases`, `gitFailed`.
 */
export async function rebaseOnto(wanted: { path: string; onto: string; clock: Clock }): Promise<RebaseOutcome> {
  const { path, onto, clock } = wanted;
  checkCommitIds(onto);
  const before = await openWorktree(path);
  const head = await checkRebasable(before);
  await mergeBases(before.root, onto, head);
  if (await isAncestor(before.root, onto, head)) return { outcome: 'up_to_date' };
  await checkPlace(before, onto, head);
  const options: GitOptions = {
    cwd: before.root,
    timeout_ms: TIMEOUT_MS,
    settings: [...DURABLE, ...(await identitySettings(before.root))],
  };
  let message: string | null;
  try {
    message = await rebase(path, onto, options);
    message ??= await judgeResult(before, onto, head);
  } catch (error) {
    await takeBack(before, head, { onto, clock });
    throw error;
  }
  if (message !== null) {
    await takeBack(before, head, { onto, clock });
    return { outcome: 'conflict', message };
  }
  await syncRepository(before.root);
  return { outcome: 'rebased' };
}

/** Null when it went through; else what git says about the conflict. */
async function rebase(path: string, onto: string, options: GitOptions): Promise<string | null> {
  const result = await git([...REBASE, onto], options);
  if (result.code === 0) return null;
  const said = `${result.stdout}\n${result.stderr}`.split('\n');
  const conflict = said.filter((line) => /^(?:CONFLICT|error: could not apply|warning: Cannot merge)/.test(line));
  if (conflict.length === 0) throw gitFailed(`rebase ${path}`, result);
  return conflict.join('\n').slice(0, MAX_MESSAGE);
}

async function judgeResult({ root, branch }: Repository, onto: string, head: string): Promise<string | null> {
  const { head_commit } = await openWorktree(root);
  if (head_commit === null) return `${branch} has no commit any more`;
  return whatWasDropped(root, head_commit, onto, head);
}

/**
 * Commit by commit, a rebase can lose what a merge keeps: the resolution inside a merge commit; a line that both had
 * added and a later commit of ours took out again. Null when the result `now` is what the merge gives, or has every line
 * of it. Errors: those of `predictMerge`, `missingLines`.
 */
export async function whatWasDropped(root: string, now: string, onto: string, head: string): Promise<string | null> {
  const { tree } = await predictMerge(root, onto, head);
  const rebased = await gitOutput('look at the result', ['rev-parse', `${now}^{tree}`], { cwd: root });
  if (tree === rebased.trim()) return null;
  const { lines, truncated } = await missingLines({ repo_root: root, ours: onto, theirs: head, merged: now });
  if (lines.length === 0 && !truncated) return null;
  const some = lines.slice(0, 5).map(({ path, line }) => `${path}: ${line}`);
  return ['the rebase would drop lines that a merge keeps', ...some].join('\n').slice(0, MAX_MESSAGE);
}

async function checkRebasable({ root, git_dir, common_dir, branch, head_commit }: Repository): Promise<string> {
  const operation = operationUnderWay(git_dir);
  if (operation !== null) {
    throw refused(
      'operation_in_progress',
      `there is a ${operation} in progress in ${root}`,
      `${operation} --abort`,
      root,
    );
  }
  if (git_dir === common_dir) throw refused('main_worktree', `${root} is not a linked worktree`, null, root);
  if (head_commit === null) throw refused('no_commit_yet', `the branch of ${root} has no commit yet`, null, root);
  if (branch === null) throw refused('head_detached', `${root} is on no branch`, 'switch BRANCH', root);
  const dirty = (await workFacts(root, null))?.dirty ?? [];
  if (dirty.length > 0) throw refused('worktree_dirty', `${root} has changes: ${shown(dirty)}`, 'status', root);
  return head_commit;
}

function shown(paths: readonly string[]): string {
  const some = paths.slice(0, 5).map((path) => JSON.stringify(path));
  return [...some, ...(paths.length > some.length ? ['…'] : [])].join(', ');
}

function refused(code: string, message: string, way_out: string | null, root: string): AppError {
  return new AppError('refused', code, message, {
    unsafe_condition: message,
    would_change: `the commits of ${root} would be written anew`,
    preserved: 'the worktree is untouched',
    ...(way_out === null ? {} : { recovery_commands: [`git -C ${JSON.stringify(root)} ${way_out}`] }),
    data: { path: root },
  });
}

async function checkPlace({ root, git_dir }: Repository, onto: string, head: string): Promise<void> {
  const options = { cwd: root };
  const [steps, untracked, replayed] = await Promise.all([
    fileSteps(options, head, onto),
    untrackedIn(options),
    cameOnTheWay(options, onto, head),
  ]);
  const come = steps.filter(({ kind }) => kind === 'create').map(({ quoted }) => unquotePath(quoted));
  const in_the_way = inTheWay(root, untracked, [...come, ...replayed]);
  if (in_the_way.length > 0) {
    const message = `ignored files of ${root} are in the way: ${shown(in_the_way)}`;
    throw refused('ignored_in_the_way', message, 'status --ignored', root);
  }
  await checkRoom(options, git_dir, steps);
}

/**
 * Back to what it was: branch, commit, files. Git's notes of a rebase go last: whoever comes after a crash knows by them
 * that the rest is ours. `save` keeps what stands in the files before anything is written over that git itself would not.
 * Errors: `failed` / `rebase_not_undone`; those of `save`.
 */
export async function takeBack(
  worktree: Repository,
  head: string,
  { onto, clock, save }: { onto: string; clock: Clock; save?: () => Promise<unknown> },
): Promise<void> {
  const { root, branch, git_dir } = worktree;
  const options: GitOptions = { cwd: root, timeout_ms: TIMEOUT_MS };
  const said: string[] = [];
  const undo = async (...args: string[]) => said.push((await gitPatiently(args, options, clock)).stderr);
  const isUnderWay = () => operationUnderWay(git_dir) === 'rebase';
  if (isUnderWay()) await undo('rebase', '--abort');
  // Where that fails half-way it leaves HEAD on no branch. This writes over nothing that is not in a commit.
  await undo('reset', '--quiet', '--keep', head);
  if (isUnderWay() && ((await openWorktree(root)).head_commit !== head || (await isDirty(root)))) {
    await save?.();
    await undo('reset', '--quiet', '--hard', head);
  }
  if (await isDirty(root)) await undoCheckout(root, await fileSteps(options, head, onto), options);
  const ref = `refs/heads/${branch}`;
  const after = await openWorktree(root);
  if (after.branch === null && after.head_commit === head && (await resolveCommit(root, ref)) === head) {
    await undo('symbolic-ref', '-m', 'drover: back', 'HEAD', ref);
  }
  const now = await openWorktree(root);
  const is_back = now.branch === branch && now.head_commit === head && !(await isDirty(root));
  if (is_back && isUnderWay()) await undo('rebase', '--quit');
  if (is_back && operationUnderWay(git_dir) === null) return;
  throw new AppError('failed', 'rebase_not_undone', `the rebase in ${root} could not be taken back`, {
    hint: `The branch was at ${head}; nothing that was committed is lost.`,
    preserved: `all commits of ${branch}`,
    recovery_commands: [`git -C ${JSON.stringify(root)} status`, `git -C ${JSON.stringify(root)} rebase --abort`],
    data: { path: root, branch, head, stderr: said.join('').slice(-2_000) },
  });
}

/** Changes, or files that are in no commit and not ignored. Errors: those of `workFacts`. */
export async function isDirty(root: string): Promise<boolean> {
  return ((await workFacts(root, null))?.dirty.length ?? 0) > 0;
}
