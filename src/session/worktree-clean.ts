import { workFacts } from '../git/facts.ts';
import { isKeptElsewhere, removeMergedBranch } from '../git/merged.ts';
import { operationUnderWay } from '../git/operation.ts';
import { forgetWorktree } from '../git/reopen.ts';
import { findRepository } from '../git/repository.ts';
import { rescue } from '../git/rescue.ts';
import { removeCleanWorktree } from '../git/worktree.ts';
import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { detachWorktree, reattachWorktree, worktreeUsers } from '../store/clean.ts';
import { freeSlot, liveDescendants } from '../store/worktree.ts';
import { fileExists, isDirectory } from '../sys/directory.ts';
import { moveAside, removeTree } from '../sys/discard.ts';
import { processesInside } from '../sys/inside.ts';
import type { Deps } from './deps.ts';
import { runHook } from './hooks.ts';

/** What `rescue` saved, and how to look at it. */
export interface Saved {
  ref: string;
  commit: string;
  /** What is in no commit and went, at most 20 paths: files that git ignores. */
  ignored: string[];
}

/** Whether a worktree may go. */
export interface WorktreeVerdict {
  /** null: it may. */
  why: string | null;
  /** `in_use`: not even by force. `work`: it holds something that is nowhere else. */
  kind: 'free' | 'in_use' | 'work';
  /** The session's own branch, when that may go with it. */
  branch: string | null;
}

export interface Owned {
  /** Whose worktree it is. */
  row: SessionRow;
  path: string;
  /** Ended sessions that may lose it, `row` included. */
  ids: readonly string[];
}

/**
 * The one judgement of whether a worktree may be removed (O-85, I22, CX-22): nobody lives who has it, or works in it, or
 * was started by who has it; no process works in it; nothing in it is uncommitted; and its commits are on another branch,
 * a remote's or a tag.
 */
export async function judgeWorktree(deps: Deps, { row, path, ids }: Owned): Promise<WorktreeVerdict> {
  const users = await worktreeUsers(deps.store, path, ids);
  if (users[0]) return inUse(`${users[0].name} (${users[0].state}) uses it`);
  const [child] = await liveDescendants(deps.store, row.id);
  if (child !== undefined) return inUse(`${child.name} (${child.state}), which it started, is at work`);
  // Deleted by hand: only git's note about it is left to be removed.
  if (!isDirectory(path)) return { why: null, kind: 'free', branch: null };
  const inside = processesInside(path);
  if (inside.length > 0) return inUse(`process ${inside.slice(0, 3).join(', ')} works in it`);
  return judgeWork(row, path);
}

const inUse = (why: string): WorktreeVerdict => ({ why, kind: 'in_use', branch: null });
const work = (why: string): WorktreeVerdict => ({ why, kind: 'work', branch: null });

/** What git says of it, whoever is at it. */
export async function judgeWork(row: Pick<SessionRow, 'branch'>, path: string): Promise<WorktreeVerdict> {
  const found = await findRepository(path);
  if (found === null || found.root !== path) return inUse('it is no worktree of git any more');
  if (found.git_dir === found.common_dir) return inUse('it is the main checkout of its repository');
  const facts = await workFacts(path, null);
  if (facts === null) return inUse('it is no worktree of git any more');
  const operation = operationUnderWay(found.git_dir);
  if (operation !== null) return work(`a ${operation} is in progress`);
  if (facts.dirty.length > 0) {
    const named = facts.dirty.slice(0, 3).join(', ');
    return work(`changes that are not committed: ${named}${facts.dirty.length > 3 ? ', …' : ''}`);
  }
  if (facts.head === null) return { why: null, kind: 'free', branch: null };
  if (!(await isKeptElsewhere(path, facts.head, facts.branch)))
    return work(`${facts.branch ?? 'its detached HEAD'} has commits that are on no other branch`);
  const isOwn = facts.branch !== null && facts.branch === row.branch;
  return { why: null, kind: 'free', branch: isOwn ? facts.branch : null };
}

/** What came of a removal. `branch_kept` says why a branch that was to go with it stayed. */
export type Removed =
  | { removed: true; branch: string | null; branch_kept: string | null; saved: Saved | null }
  | { removed: false; why: string };

/**
 * Removes a worktree that `judgeWorktree` gave free, and its merged branch with it (E-148). The row lets go first, in one
 * guarded write: from then on nobody starts in it. When it cannot be removed after all the row gets it back.
 */
export async function removeWorktree(deps: Deps, owned: Owned, verdict: WorktreeVerdict): Promise<Removed> {
  const { row, path, ids } = owned;
  const unhooked = await beforeRemove(deps, row, path);
  if (unhooked !== null) return { removed: false, why: unhooked };
  const detached = await detachWorktree(deps.store, { path, ids, now: deps.clock.now() });
  if (detached === null) return { removed: false, why: 'another session needs it by now' };
  try {
    await removeCleanWorktree({ repo_root: row.repo_root, path, clock: deps.clock });
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    if (!isGone(path, error)) {
      await giveBack(deps, owned, detached);
      return { removed: false, why: error.details.unsafe_condition ?? error.message };
    }
  }
  await freeSlot(deps.store, path);
  return { removed: true, saved: null, ...(await dropBranch(row, verdict.branch)) };
}

/**
 * Removes a worktree with all that is in it, after everything was saved to a commit of its own; its branch stays. Only for
 * one that a person named. When nothing can be saved, nothing is removed.
 */
export async function forceWorktree(deps: Deps, owned: Owned): Promise<Removed> {
  const { row, path, ids } = owned;
  const unhooked = await beforeRemove(deps, row, path);
  if (unhooked !== null) return { removed: false, why: unhooked };
  let saved: Saved;
  try {
    saved = await rescue({ path, session_id: row.id, clock: deps.clock });
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { removed: false, why: `it could not be saved: ${error.message}` };
  }
  const inner = saved.ignored
    .map((name) => name.replace(/(?:^|\/)\.git\/?$|\/$/, ''))
    .find((name) => isRepository(path, name));
  if (inner !== undefined)
    return { removed: false, why: `the repository ${inner} inside it cannot be saved with its history; move it` };
  const detached = await detachWorktree(deps.store, { path, ids, now: deps.clock.now() });
  if (detached === null) return { removed: false, why: 'another session needs it by now' };
  try {
    const aside = moveAside(path);
    if (aside !== null) removeTree(aside);
    await forgetWorktree({ repo_root: row.repo_root, path, clock: deps.clock });
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    if (isDirectory(path)) {
      await giveBack(deps, owned, detached);
      return { removed: false, why: error.message };
    }
  }
  await freeSlot(deps.store, path);
  return { removed: true, branch: null, branch_kept: null, saved };
}

const isRepository = (path: string, name: string) => name !== '' && fileExists(`${path}/${name}/.git`);

/** A failing hook keeps nothing (it is in the session's events); one that may not run keeps the worktree. */
async function beforeRemove(deps: Deps, row: SessionRow, path: string): Promise<string | null> {
  try {
    await runHook(deps, 'before_remove', row, path);
    return null;
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return error.message;
  }
}

function isGone(path: string, error: AppError): boolean {
  return !isDirectory(path) && (error.code === 'worktree_not_found' || error.code === 'repository_not_found');
}

async function giveBack(deps: Deps, { row, path }: Owned, detached: readonly string[]): Promise<void> {
  const working_dirs = Object.fromEntries(detached.map((id) => [id, id === row.id ? row.working_dir : path]));
  await reattachWorktree(deps.store, { path, working_dirs });
}

async function dropBranch(row: SessionRow, branch: string | null) {
  if (branch === null) return { branch: null, branch_kept: null };
  try {
    const isDeleted = await removeMergedBranch(row.repo_root, branch);
    return { branch: isDeleted ? branch : null, branch_kept: null };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { branch: null, branch_kept: error.message };
  }
}
