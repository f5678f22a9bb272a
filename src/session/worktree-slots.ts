import { workFacts } from '../git/facts.ts';
import { worktreeHealth } from '../git/readiness.ts';
import { resolveCommit } from '../git/repository.ts';
import type { Rescued } from '../git/rescue.ts';
import { AppError } from '../model/error.ts';
import type { WorktreeRow } from '../model/merge.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import { noteKept, sessionsOfEndedSteps } from '../store/step-worktree.ts';
import { endedOwners, type HeldSlot, heldSlots, slotCounts, slotQueue } from '../store/worktree.ts';
import { isDirectory } from '../sys/directory.ts';
import type { Deps } from './deps.ts';
import {
  forceWorktree,
  type Ignored,
  judgeWorktree,
  type Owned,
  planForce,
  type Removed,
  removeWorktree,
} from './worktree-clean.ts';

/** Why a worktree is left alone. `active`: its session lives. `retained`: it has not been over for long enough (E-150). */
interface Kept {
  id: string;
  name: string;
  path: string;
  group: 'active' | 'retained' | 'kept';
  why: string;
}

interface Gone {
  id: string;
  name: string;
  path: string;
  /** Its merged branch, when that went with it. */
  branch: string | null;
  /** Why that stayed, or null. */
  branch_kept: string | null;
  /** With `force`: where everything is; null also when nothing was done yet. */
  saved: Rescued | null;
  /** Ignored files that went, or would go, with it. */
  ignored: Ignored;
  /** Repositories inside it that went, or would go, whose history is elsewhere. */
  nested: string[];
}

export interface WorktreesCleaned {
  removed: Gone[];
  kept: Kept[];
}

export interface WorktreeCleanRequest {
  /** null: every repository. */
  repo_root: string | null;
  /** Ids that a person named; null: whoever may go. */
  named: readonly string[] | null;
  /** Also sessions that failed, were stopped or died, and may be wanted again. */
  all_ended: boolean;
  /** Save and remove what holds work. Only with `named`. */
  force: boolean;
  /** With `force`: ignored files that are too much to be saved may go. */
  discard_ignored: boolean;
  dry_run: boolean;
}

/**
 * Removes worktrees of ended sessions: those of completed ones unless more is asked for, after the time of
 * `worktree.retention_ms` since their end (O-85, E-150, E-151, CX-47). The oldest go first. Whatever holds work is kept and
 * said so; with `force` it is saved first, one named worktree at a time.
 */
export async function cleanWorktrees(deps: Deps, request: WorktreeCleanRequest): Promise<WorktreesCleaned> {
  const done: WorktreesCleaned = { removed: [], kept: [] };
  for (const held of await heldSlots(deps.store, request.repo_root)) {
    const { slot, session } = held;
    if (session === null || (request.named !== null && !request.named.includes(session.id))) continue;
    const of = { id: session.id, name: session.name, path: slot.path };
    const out = await takeOne(deps, slot, session, request);
    if ('why' in out) done.kept.push({ ...of, ...out });
    else {
      const { removed: _, ...gone } = out;
      done.removed.push({ ...of, ...gone });
    }
  }
  return done;
}

type Outcome = Extract<Removed, { removed: true }> | Pick<Kept, 'group' | 'why'>;

async function takeOne(
  deps: Deps,
  slot: WorktreeRow,
  session: SessionRow,
  request: Pick<WorktreeCleanRequest, 'named' | 'all_ended' | 'force' | 'discard_ignored' | 'dry_run'> & {
    /** The branch stays: whoever is resumed goes on from it. `unmerged`: even if its commits are nowhere else. */
    keep_branch?: 'merged' | 'unmerged' | null;
  },
): Promise<Outcome> {
  const isNamed = request.named !== null;
  const early = await tooEarly(deps, session, isNamed || request.all_ended, isNamed);
  if (early !== null) return early;
  const { path } = slot;
  const ids = [session.id, ...(await endedOwners(deps.store, path))];
  const owned = { row: session, path, ids, is_branch_kept: request.keep_branch === 'unmerged' };
  const verdict = await judgeWorktree(deps, owned);
  const isForced = request.force && verdict.kind === 'work';
  if (verdict.why !== null && !isForced) return { group: 'kept', why: verdict.why };
  // As long as the session has it, its branch can be merged by the name of the session.
  if (!isNamed && verdict.branch_kept !== null) return { group: 'kept', why: stillToMerge(session) };
  if (request.dry_run) return isForced ? wouldForce(owned, request) : wouldGo(verdict);
  const free = request.keep_branch ? { ...verdict, branch: null } : verdict;
  const result = isForced ? await forceWorktree(deps, owned, request) : await removeWorktree(deps, owned, free);
  return result.removed ? result : { group: 'kept', why: result.why };
}

function wouldGo(of: Partial<Gone> & Pick<Gone, 'ignored'>): Outcome {
  const { branch = null, branch_kept = null, ignored, nested = [] } = of;
  return { removed: true, branch, branch_kept, saved: null, ignored, nested };
}

async function wouldForce(owned: Owned, request: Pick<WorktreeCleanRequest, 'discard_ignored'>): Promise<Outcome> {
  const plan = await planForce(owned, request);
  return plan.why === null ? wouldGo(plan) : { group: 'kept', why: plan.why };
}

function stillToMerge({ name, branch }: SessionRow): string {
  return `its directory is gone, ${branch} has commits that are on no other branch: drover merge ${quoted(name)}`;
}

async function tooEarly(
  deps: Deps,
  session: SessionRow,
  all_ended: boolean,
  is_named: boolean,
): Promise<Pick<Kept, 'group' | 'why'> | null> {
  const { state, ended_at } = session;
  if (ended_at === null) return { group: 'active', why: `it is ${state}` };
  if (state !== 'completed' && !all_ended)
    return { group: 'kept', why: `it is ${state}; --all-ended takes those as well` };
  const { retention_ms } = (await deps.config_for(session.repo_root)).worktree;
  const isYoung = !is_named && deps.clock.now() - ended_at < retention_ms;
  return isYoung ? { group: 'retained', why: 'it has not been over for as long as worktree.retention_ms' } : null;
}

/** A worktree that was removed to make room. */
interface Pruned {
  name: string;
  path: string;
  state: SessionRow['state'];
  ignored: Ignored;
  /** The branch that stays with commits that may be nowhere else. */
  kept_branch?: string;
}

/** Who goes first: completed sessions, others, then those of ended steps whose branch is not merged. */
const PASSES = [
  { all_ended: false, keep_branch: null },
  { all_ended: true, keep_branch: 'merged' },
  { all_ended: true, keep_branch: 'unmerged' },
] as const;

/**
 * Makes room for a session that waits for a worktree: removes the oldest worktree of a completed session that `drover
 * worktree clean` would take (CX-23); when there is none, that of another ended session, whose branch stays, so that it
 * finds its work should it be resumed; when there is none either, one without uncommitted work of a session whose step of a
 * plan has ended, merged or not: its branch stays as well. Null when there is none; then those that stay are noted.
 */
export async function pruneOne(deps: Deps, repo_root: string): Promise<Pruned | null> {
  const held = await heldSlots(deps.store, repo_root);
  const ended = await sessionsOfEndedSteps(deps.store, repo_root);
  const plain = { named: null, force: false, discard_ignored: false, dry_run: false };
  for (const pass of PASSES) {
    for (const { slot, session } of held) {
      if (session === null || session.ended_at === null) continue;
      const isUnmerged = pass.keep_branch === 'unmerged';
      if (isUnmerged ? !ended.has(session.id) : (session.state === 'completed') === pass.all_ended) continue;
      const out = await takeOne(deps, slot, session, { ...plain, ...pass });
      if ('why' in out) continue;
      const { name, state, branch } = session;
      const pruned = { name, path: slot.path, state, ignored: out.ignored };
      return isUnmerged && branch !== null ? { ...pruned, kept_branch: branch } : pruned;
    }
  }
  const kept = held.filter(({ session }) => session === null || session.ended_at !== null);
  await noteKept(
    deps.store,
    kept.map(({ slot }) => slot.path),
    deps.clock.now(),
  );
  return null;
}

/** One worktree with what stands in it; times are wall ms. */
export interface ListedWorktree extends WorktreeRow {
  name: string | null;
  state: SessionRow['state'] | null;
  ended_at: number | null;
  base_branch: string | null;
  exists: boolean;
  /** Commits on top of its base, at most 20 counted; null when it cannot be looked at. */
  ahead: number | null;
  /** Changed or new paths, at most 50 counted. */
  dirty: number | null;
  in_progress: string | null;
  /** `clear`, `in_progress`, `conflicted` (E-176); `gone`; `unfinished` while it is being made; or what keeps git from saying. */
  health: string;
}

export interface ListedSlots {
  repo_root: string;
  max: number;
  held: number;
  held_by_ended: number;
  /** Who starts first comes first. */
  waiting: Pick<SessionRow, 'id' | 'name'>[];
}

/** Every worktree of a repository, or of all, and how its slots are taken. Changes nothing. */
export async function listWorktrees(
  deps: Pick<Deps, 'store' | 'config_for'>,
  repo_root: string | null,
): Promise<{ worktrees: ListedWorktree[]; slots: ListedSlots[] }> {
  const worktrees: ListedWorktree[] = [];
  for (const held of await heldSlots(deps.store, repo_root)) worktrees.push(await listed(held));
  const slots: ListedSlots[] = [];
  for (const { held_by_ended, held, repo_root: root } of await slotCounts(deps.store)) {
    if (repo_root !== null && root !== repo_root) continue;
    const { max_worktrees: max } = await deps.config_for(root);
    slots.push({ repo_root: root, max, held, held_by_ended, waiting: await slotQueue(deps.store, root) });
  }
  return { worktrees, slots };
}

async function listed({ slot, session }: HeldSlot): Promise<ListedWorktree> {
  const { name = null, state = null, ended_at = null, base_branch = null } = session ?? {};
  const row = { ...slot, name, state, ended_at, base_branch, exists: isDirectory(slot.path) };
  const nothing = { ahead: null, dirty: null, in_progress: null };
  if (slot.created_at === null) return { ...row, ...nothing, health: 'unfinished' };
  if (!row.exists) return { ...row, ...nothing, health: 'gone' };
  try {
    const target = base_branch === null ? null : await resolveCommit(slot.repo_root, `refs/heads/${base_branch}`);
    const { health, dirty, operation } = await worktreeHealth({ path: slot.path, base: target ?? slot.base_commit });
    const ahead = (await workFacts(slot.path, slot.base_commit))?.commits.length ?? 0;
    return { ...row, ahead, dirty: dirty.length, in_progress: operation, health };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { ...row, ...nothing, health: error.code };
  }
}
