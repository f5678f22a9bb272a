import type { Clock } from '../model/clock.ts';
import { listFiles } from '../sys/directory.ts';
import { removeTree } from '../sys/discard.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import { branchHead } from './branch.ts';
import { checkoutOf } from './common-dir.ts';
import { syncRepository } from './durable.ts';
import { isAncestor } from './merge-base.ts';
import { openWorktree } from './open-worktree.ts';
import { operationUnderWay } from './operation.ts';
import { isDirty, takeBack, whatWasDropped } from './rebase.ts';
import type { Repository } from './repository.ts';
import { git } from './run.ts';

/**
 * What a rebase has come to that nobody looked after any more. `as_before`: the branch has its old commits, and perhaps
 * more on top. `rebased`: it went through, and lost nothing. `conflict`: it lost something, or would not go through, and is
 * taken back. `lost`: what it lost is not in the branch, and others have been at it since, so nothing was touched.
 */
export type Finished = { now: 'as_before' | 'rebased' } | { now: 'conflict' | 'lost'; message: string };

export interface CutOff {
  repo_root: string;
  /** The worktree of the branch. */
  path: string;
  branch: string;
  /** Where the branch was, and what it was to stand on; full ids. */
  head: string;
  onto: string;
  clock: Clock;
  /** Keeps what stands in the files, before anything is written over that git itself would not. */
  save: () => Promise<unknown>;
}

/**
 * Ends a rebase whose process was killed. Only for whoever knows that no git is at it any more: locks are taken away.
 * Errors: `failed` / `rebase_not_undone`; those of `openWorktree`, `branchHead`, `predictMerge`.
 */
export async function finishRebase(rebase: CutOff): Promise<Finished> {
  const { repo_root, path, branch, head } = rebase;
  const worktree = checkoutOf(path)?.root === path ? await openWorktree(path) : null;
  if (worktree !== null) breakLocks(worktree, branch);
  if (worktree !== null && isUnderWay(worktree, head)) {
    await takeBack({ ...worktree, branch }, head, rebase);
    return { now: 'as_before' };
  }
  const now = await branchHead(repo_root, branch);
  if (now === head || (now !== null && (await isAncestor(repo_root, head, now)))) return { now: 'as_before' };
  const message =
    now === null ? `the branch ${branch} is gone` : await whatWasDropped(repo_root, now, rebase.onto, head);
  const isOurs = now !== null && (await isResult(rebase, now));
  if (message === null) {
    if (!isOurs) return { now: 'as_before' };
    await syncRepository(path);
    return { now: 'rebased' };
  }
  if (!isOurs || worktree?.branch !== branch || operationUnderWay(worktree.git_dir) !== null || (await isDirty(path)))
    return { now: 'lost', message };
  await takeBack(worktree, head, rebase);
  return { now: 'conflict', message };
}

/** A git that is killed leaves the locks it held, and every later one finds them. */
function breakLocks({ git_dir, common_dir }: Repository, branch: string): void {
  for (const name of listFiles(git_dir)) if (name.endsWith('.lock')) removeTree(`${git_dir}/${name}`);
  removeTree(`${common_dir}/refs/heads/${branch}.lock`);
}

/** One that began at `head`; one without a note of where it began has not come far. */
function isUnderWay({ git_dir }: Repository, head: string): boolean {
  if (operationUnderWay(git_dir) !== 'rebase') return false;
  return [undefined, '', head].includes(readTextIfExists(`${git_dir}/rebase-merge/orig-head`)?.trim());
}

/** A rebase moves its branch once, at its end: what has moved more often is not its result alone. */
async function isResult({ repo_root, branch, head, onto }: CutOff, now: string): Promise<boolean> {
  const before = await git(['rev-parse', '--verify', '--quiet', `refs/heads/${branch}@{1}`], { cwd: repo_root });
  return before.stdout.trim() === head && (await isAncestor(repo_root, onto, now));
}
