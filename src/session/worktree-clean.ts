import { branchHead } from '../git/branch.ts';
import { factsAt } from '../git/facts.ts';
import { divideIgnored, type Inside, lookInside, lossIn } from '../git/inside.ts';
import { repairCommand } from '../git/look.ts';
import { isKeptElsewhere, removeMergedBranch } from '../git/merged.ts';
import { openWorktree } from '../git/open-worktree.ts';
import { operationUnderWay } from '../git/operation.ts';
import { forgetWorktree } from '../git/reopen.ts';
import { findRepository, type Repository } from '../git/repository.ts';
import { type Rescued, rescue } from '../git/rescue.ts';
import { submoduleWork } from '../git/submodule-work.ts';
import { removeCleanWorktree } from '../git/worktree.ts';
import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import { detachWorktree, reattachWorktree, worktreeUsers } from '../store/clean.ts';
import { noteCapture } from '../store/thread.ts';
import { freeSlot, liveDescendants, recordEvent } from '../store/worktree.ts';
import { isDirectory } from '../sys/directory.ts';
import { moveAside, removeTree } from '../sys/discard.ts';
import { processesInside } from '../sys/inside.ts';
import type { Deps } from './deps.ts';
import { runHook } from './hooks.ts';

/** Files that git ignores, which go with a worktree and are in no commit. */
export interface Ignored {
  files: number;
  /** Those that are ignored by their own name, a directory with a slash at its end; at most 20. */
  names: string[];
  /** How many more of these there are. */
  more: number;
}

/** Whether a worktree may go. */
export interface WorktreeVerdict {
  /** null: it may. */
  why: string | null;
  /** `in_use`: not even by force. `work`: it holds something that is nowhere else. */
  kind: 'free' | 'in_use' | 'work';
  /** The session's own branch, when that may go with it. */
  branch: string | null;
  /** Of one whose directory is gone: why its branch stays, and how to merge it; null when nothing is left to be merged. */
  branch_kept: string | null;
  /** What goes with it as well. */
  ignored: Ignored;
}

const NOTHING: Ignored = { files: 0, names: [], more: 0 };
const NOTHING_ELSE = { branch_kept: null, ignored: NOTHING };
const FREE: WorktreeVerdict = { why: null, kind: 'free', branch: null, ...NOTHING_ELSE };

export interface Owned {
  /** Whose worktree it is. */
  row: SessionRow;
  path: string;
  /** Ended sessions that may lose it, `row` included. */
  ids: readonly string[];
  /** Its branch stays, and with it all commits: they need not be anywhere else. */
  is_branch_kept?: boolean;
}

/**
 * The one judgement of whether a worktree may be removed (O-85, I22, CX-22): nobody lives who has it, or works in it, or
 * was started by who has it; no process works in it; nothing in it is uncommitted; its commits are on another branch, a
 * remote's or a tag, unless its own branch stays; and no other repository is inside it. Ignored files, as a build leaves them,
 * keep nothing: they are counted.
 */
export async function judgeWorktree(
  deps: Deps,
  { row, path, ids, is_branch_kept = false }: Owned,
): Promise<WorktreeVerdict> {
  const users = await worktreeUsers(deps.store, path, ids);
  if (users[0]) return inUse(`${users[0].name} (${users[0].state}) uses it`);
  const [child] = await liveDescendants(deps.store, row.id);
  if (child !== undefined) return inUse(`${child.name} (${child.state}), which it started, is at work`);
  if (!isDirectory(path)) return is_branch_kept ? FREE : judgeGone(row);
  const inside = processesInside(path);
  if (inside.length > 0) return inUse(worksIn(inside));
  return judgeWork(row, path, is_branch_kept);
}

const worksIn = (pids: readonly number[]) => `process ${pids.slice(0, 3).join(', ')} works in it`;
const inUse = (why: string): WorktreeVerdict => ({ why, kind: 'in_use', branch: null, ...NOTHING_ELSE });
const work = (why: string): WorktreeVerdict => ({ why, kind: 'work', branch: null, ...NOTHING_ELSE });

/** Deleted by hand: git's note about it is left to be removed, and the branch, where its commits are. */
async function judgeGone({ repo_root, branch }: SessionRow): Promise<WorktreeVerdict> {
  const head = branch === null ? null : await branchHead(repo_root, branch);
  if (branch === null || head === null) return FREE;
  if (await isKeptElsewhere(repo_root, head, branch)) return { ...FREE, branch };
  const merge = `git -C ${quoted(repo_root)} merge ${quoted(branch)}`;
  return { ...FREE, branch_kept: `${branch} has commits that are on no other branch: ${merge}` };
}

/** Its `.git` was deleted or damaged, so nobody can say what of its files is kept elsewhere. */
const broken = ({ repo_root }: Pick<SessionRow, 'repo_root'>) =>
  `it is no worktree of git any more; mend it: ${repairCommand(repo_root)}`;

/** What git says of it, whoever is at it. */
export async function judgeWork(
  row: Pick<SessionRow, 'branch' | 'repo_root'>,
  path: string,
  is_branch_kept = false,
): Promise<WorktreeVerdict> {
  const found = await findRepository(path);
  if (found === null || found.root !== path) return inUse(broken(row));
  if (found.git_dir === found.common_dir) return inUse('it is the main checkout of its repository');
  const facts = await factsAt(found, null);
  if (facts === null) return inUse(broken(row));
  const operation = operationUnderWay(found.git_dir);
  if (operation !== null) return work(`a ${operation} is in progress`);
  if (facts.dirty.length > 0) {
    return work(`changes that are not committed: ${named(facts.dirty)}`);
  }
  const isOwn = facts.head !== null && facts.branch !== null && facts.branch === row.branch;
  const isKept = is_branch_kept && isOwn;
  if (facts.head !== null && !isKept && !(await isKeptElsewhere(path, facts.head, facts.branch)))
    return work(`${facts.branch ?? 'its detached HEAD'} has commits that are on no other branch`);
  const looked = await lookFurther(found);
  if ('why' in looked) return work(looked.why);
  const { inside, submodules } = looked;
  if (submodules.loss !== null) return work(submodules.loss);
  const others = inside.nested.filter((name) => !submodules.names.includes(name));
  if (others.length > 0) return work(`other repositories are inside it: ${named(others)}`);
  return {
    why: null,
    kind: 'free',
    branch: isOwn && !is_branch_kept ? facts.branch : null,
    branch_kept: null,
    ignored: countIgnored(inside.ignored),
  };
}

/** What cannot be looked at keeps this worktree, and no other one. */
async function lookFurther(found: Repository) {
  try {
    return { inside: await lookInside(found), submodules: await submoduleWork(found) };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug' || error.kind === 'unavailable') throw error;
    return { why: `it cannot be looked through: ${error.message}` };
  }
}

const MAX_NAMES = 20;

function countIgnored(entries: Inside['ignored']): Ignored {
  const names = entries.slice(0, MAX_NAMES).map(({ path }) => path);
  return { files: entries.reduce((sum, { files }) => sum + files, 0), names, more: entries.length - names.length };
}

/** For people: how many files that git ignores, and the first names. */
export function ignoredText({ files, names, more }: Ignored): string {
  const rest = names.length + more - 3;
  return `${files} ignored ${files === 1 ? 'file' : 'files'}: ${names.slice(0, 3).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

function named(names: readonly string[]): string {
  return `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}`;
}

/** What came of a removal. `branch_kept` says why a branch that was to go with it stayed. */
export type Removed =
  | {
      removed: true;
      branch: string | null;
      branch_kept: string | null;
      /** With force: where everything else is. */
      saved: Rescued | null;
      ignored: Ignored;
      /** Repositories inside it that went, whose history is elsewhere. */
      nested: string[];
    }
  | { removed: false; why: string };

/**
 * Removes a worktree that `judgeWorktree` gave free, and its merged branch with it (E-148), unless `judged` names none. The
 * row lets go first, in one guarded write: from then on nobody starts in it. When it cannot be removed after all the row
 * gets it back.
 */
export async function removeWorktree(deps: Deps, owned: Owned, judged: WorktreeVerdict): Promise<Removed> {
  const { row, path, ids } = owned;
  const verdict = await afterHook(deps, owned, judged);
  if (verdict.why !== null) return { removed: false, why: verdict.why };
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
  const gone = { saved: null, ignored: verdict.ignored, nested: [] };
  await noteRemoval(deps, owned, gone);
  const { branch, branch_kept } = await dropBranch(deps, row, judged.branch && verdict.branch);
  return { removed: true, ...gone, branch, branch_kept: branch_kept ?? verdict.branch_kept };
}

/** What is saved by force, and what goes without. */
interface Plan {
  why: null;
  save: string[];
  ignored: Ignored;
  nested: string[];
}

/**
 * What `forceWorktree` would save; or why it would keep the worktree: a repository inside it with a history of its own, or
 * more ignored files than are saved, unless `discard_ignored` gives those up. Changes nothing.
 */
export async function planForce(
  { path }: Pick<Owned, 'path'>,
  { discard_ignored }: { discard_ignored: boolean },
): Promise<Plan | { why: string }> {
  try {
    const worktree = await openWorktree(path);
    const inside = await lookInside(worktree);
    const { loss } = await submoduleWork(worktree);
    if (loss !== null) return { why: `what cannot be saved: ${loss}` };
    for (const name of inside.nested) {
      const loss = await lossIn(worktree, name);
      if (loss !== null)
        return { why: `the repository ${name} inside it cannot be saved with its history (${loss}); move it` };
    }
    const { save, rest } = divideIgnored(path, inside);
    if (rest.length > 0 && !discard_ignored) {
      const sizes = rest.map((entry) => `${entry.path} (${entry.files} files)`);
      return { why: `ignored files that cannot be saved: ${named(sizes)}; delete them, or add --discard-ignored` };
    }
    return { why: null, save: save.map((entry) => entry.path), ignored: countIgnored(rest), nested: inside.nested };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { why: `it could not be saved: ${error.message}` };
  }
}

/**
 * Removes a worktree with all that is in it, after everything was saved to commits of its own; its branch stays. Only for
 * one that a person named. When something cannot be saved, nothing is removed.
 */
export async function forceWorktree(
  deps: Deps,
  owned: Owned,
  options: Parameters<typeof planForce>[1],
): Promise<Removed> {
  const { row, path, ids } = owned;
  const verdict = await afterHook(deps, owned, null);
  if (verdict.kind === 'in_use') return { removed: false, why: verdict.why ?? '' };
  const plan = await planForce(owned, options);
  if (plan.why !== null) return { removed: false, why: plan.why };
  let saved: Rescued;
  try {
    saved = await rescue({ path, session_id: row.id, ignored: plan.save, clock: deps.clock });
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { removed: false, why: `it could not be saved: ${error.message}` };
  }
  // What came since then may have written something that was not saved.
  const inside = processesInside(path);
  if (inside.length > 0) return { removed: false, why: worksIn(inside) };
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
  const gone = { saved, ignored: plan.ignored, nested: plan.nested };
  await noteRemoval(deps, owned, gone);
  return { removed: true, branch: null, branch_kept: null, ...gone };
}

/**
 * Runs the hook before a removal and judges again what it has left, or who came meanwhile; without a hook `judged` stands.
 * A failing hook keeps nothing (it is in the session's events); one that may not run keeps the worktree.
 */
async function afterHook(deps: Deps, owned: Owned, judged: WorktreeVerdict | null): Promise<WorktreeVerdict> {
  try {
    const run = await runHook(deps, 'before_remove', owned.row, owned.path);
    return run === null && judged !== null ? judged : await judgeWorktree(deps, owned);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return inUse(error.message);
  }
}

/** Whoever misses something later finds here when it went, and where it is. */
async function noteRemoval(
  deps: Deps,
  { row, path }: Owned,
  gone: Pick<Extract<Removed, { removed: true }>, 'saved' | 'ignored' | 'nested'>,
): Promise<void> {
  if (gone.saved === null && gone.ignored.names.length === 0) return;
  const data = { path, ...gone };
  const about = { session_id: row.id, turn: null, type: 'worktree_remove', level: 'info' as const };
  await recordEvent(deps.store, { ...about, data, at: deps.clock.now() });
}

function isGone(path: string, error: AppError): boolean {
  return !isDirectory(path) && (error.code === 'worktree_not_found' || error.code === 'repository_not_found');
}

async function giveBack(deps: Deps, { row, path }: Owned, detached: readonly string[]): Promise<void> {
  const working_dirs = Object.fromEntries(detached.map((id) => [id, id === row.id ? row.working_dir : path]));
  await reattachWorktree(deps.store, { path, working_dirs });
}

/** Whoever goes on with this work later starts from what has its last commit, so that is noted before the branch goes. */
async function dropBranch(deps: Deps, { repo_root }: SessionRow, branch: string | null) {
  if (branch === null) return { branch: null, branch_kept: null };
  try {
    const commit = await branchHead(repo_root, branch);
    if (commit !== null) await noteCapture(deps.store, { repo_root, branch, commit, now: deps.clock.now() });
    const isDeleted = await removeMergedBranch(repo_root, branch);
    return { branch: isDeleted ? branch : null, branch_kept: null };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { branch: null, branch_kept: error.message };
  }
}
