import { advanceBranch, branchHead, checkoutsOf, forwardCheckout } from '../git/branch.ts';
import { dirtyChanges } from '../git/patch.ts';
import { AppError } from '../model/error.ts';
import { quoted } from '../model/shell.ts';
import { refuseUsedTarget } from './in-use.ts';
import type { Run } from './run.ts';

type Place = Pick<Run, 'deps' | 'repo_root' | 'target' | 'by'>;

/**
 * Refuses what would be refused at the end anyway, before anything is built or a gate runs for half an hour: a checkout
 * of the target that has changes, or that somebody works in. Throws `target_checkout_dirty`, `target_in_use`,
 * `target_checked_out_twice` (3).
 */
export async function checkTarget(place: Place): Promise<void> {
  const { repo_root, target } = place;
  const path = await checkoutOfTarget(repo_root, target);
  if (path === null) return;
  await refuseUsedTarget(place, path);
  const changed = await changedIn(path);
  if (changed.length > 0) throw dirty(target, path, changed);
}

/**
 * Why nothing can be merged into a target now, as its checkout is: it has changes, or there are two; null: nothing of that is
 * in the way. Changes nothing.
 */
export async function targetTrouble(repo_root: string, target: string): Promise<AppError | null> {
  try {
    const path = await checkoutOfTarget(repo_root, target);
    const changed = path === null ? [] : await changedIn(path);
    return path === null || changed.length === 0 ? null : dirty(target, path, changed);
  } catch (error) {
    if (error instanceof AppError && error.kind === 'refused') return error;
    throw error;
  }
}

/** Files with changes that are not committed; new ones are in nobody's way until a merge has them. */
async function changedIn(path: string): Promise<string[]> {
  return (await dirtyChanges(path)).flatMap((change) => (change.action === 'create' ? [] : [change.path]));
}

async function checkoutOfTarget(repo_root: string, target: string): Promise<string | null> {
  const [path, another] = await checkoutsOf(repo_root, target);
  if (another === undefined) return path ?? null;
  throw new AppError('refused', 'target_checked_out_twice', `${target} is checked out in ${path} and in ${another}`, {
    hint: 'Only one of them could follow the branch. Switch the other one to another branch.',
    unsafe_condition: 'the files of the second checkout would fall behind its branch',
    would_change: target,
    preserved: 'nothing was changed',
    recovery_commands: [`git -C ${quoted(another)} switch --detach`],
  });
}

/**
 * Moves the target from one commit to another, only if it still is at the first: `moved` when it is not, and then nothing
 * was touched. A checkout of the target follows, only when it is clean, and only forward.
 * Throws `target_checkout_dirty`, `target_checkout_busy`, `target_in_use` (3); errors of `advanceBranch`.
 */
export async function advanceTarget(place: Place, from: string, to: string): Promise<'advanced' | 'moved'> {
  const { deps, repo_root, target } = place;
  const path = await checkoutOfTarget(repo_root, target);
  if (path === null) return advanceBranch({ repo_root, branch: target, from, to, clock: deps.clock });
  await refuseUsedTarget(place, path);
  const done = await forwardCheckout({ path, branch: target, from, to });
  if (done === 'forwarded') return 'advanced';
  if (typeof done === 'object') throw dirty(target, path, done.in_the_way);
  if (done === 'moved' && (await branchHead(repo_root, target)) !== from) return 'moved';
  throw new AppError('refused', 'target_checkout_busy', `somebody is at work in ${path}, which is on ${target}`, {
    hint: 'A rebase, a merge or another git command is under way there; finish it and merge again.',
    unsafe_condition: `files and index of ${path} are in use`,
    would_change: `${target} and the files of ${path}`,
    preserved: `${target}, ${path}, and every branch and worktree`,
    recovery_commands: [`git -C ${quoted(path)} status`],
    data: { path, target },
  });
}

const SHOWN = 5;

function dirty(target: string, path: string, changed: readonly string[]): AppError {
  const shown = changed.slice(0, SHOWN).map((each) => JSON.stringify(each));
  const list = [...shown, ...(changed.length > SHOWN ? ['…'] : [])].join(', ');
  return new AppError('refused', 'target_checkout_dirty', `${path} is on ${target} and has changes of its own`, {
    hint: 'Commit or stash them, or merge into another branch with --into.',
    unsafe_condition: `not committed, or in the way of a new file: ${list}`,
    would_change: `${target} and the files of ${path}`,
    preserved: `${target}, ${path}, and every branch and worktree`,
    recovery_commands: [`git -C ${quoted(path)} status`],
    data: { path, target, changed: changed.slice(0, 50) },
  });
}
