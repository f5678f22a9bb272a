import { workFacts } from '../git/facts.ts';
import { lookInside } from '../git/inside.ts';
import { removeMergedBranch } from '../git/merged.ts';
import { dropUnfinished, forgetWorktree, reopenWorktree } from '../git/reopen.ts';
import { describeCommit, findRepository, resolveCommit } from '../git/repository.ts';
import { addWorktree, removeCleanWorktree } from '../git/worktree.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import type { WorktreeRow } from '../model/merge.ts';
import { threadTaken } from '../model/reservation-advice.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import { otherOwner } from '../store/reservation-session.ts';
import { claimSlot, dropSlot, recordEvent, returnStray, settleSlot, takeStray } from '../store/worktree.ts';
import { isDirectory } from '../sys/directory.ts';
import { processesInside, processesNaming } from '../sys/inside.ts';
import type { Deps } from './deps.ts';
import { failSession } from './end.ts';
import { hasSucceeded, mustRunHook, refuseUntrustedHooks } from './hooks.ts';
import { ownerProbe } from './owner-probe.ts';
import { fromItsWork, type Wanting } from './worktree-base.ts';
import { copyIncluded } from './worktree-include.ts';

/** Where worktrees are, unless the user says otherwise. */
export function worktreeRoot(config: Config, home: string): string {
  return config.worktree.root ?? `${home}/worktrees`;
}

/** The place of a session's worktree: the template filled in, so that it stays below the root whatever the label says. */
export function worktreePath(config: Config, home: string, row: Pick<SessionRow, 'id' | 'name' | 'project'>): string {
  const values: Record<string, string> = { project: plain(row.project), name: plain(row.name), id: row.id.slice(-6) };
  const below = config.worktree.path.replace(/\{(project|name|id)\}/g, (hole, key: string) => values[key] ?? hole);
  return `${worktreeRoot(config, home)}/${below}`;
}

function plain(text: string): string {
  return text.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[.-]+/, '') || 'work';
}

/**
 * `ready`: the session can start. `full`: every slot is taken; it starts when one is free. `wait`: something is under way,
 * look again. `failed`: it has failed, with the reason.
 */
export type Prepared = 'ready' | 'full' | 'wait' | 'failed';

/**
 * Makes the worktree of a queued session that asked for one (E-012, E-014…E-016, E-175): slot, checkout, the files of
 * `.worktreeinclude`, the hook after create, and only then the session's row. Whoever dies in between left a claim: the
 * next call goes on where it was, and runs the hook again unless it is known to have succeeded. On failure the session is
 * `failed` and what was made is taken back.
 */
export async function prepareWorktree(deps: Deps, row: SessionRow): Promise<Prepared> {
  if (row.state !== 'queued') return 'ready';
  if (row.worktree_path !== null) return checkWorktree(deps, row, row.worktree_path);
  if (row.branch === null || row.base_ref === null) return 'ready';
  const config = await deps.config_for(row.repo_root);
  let slot: WorktreeRow | null = null;
  try {
    refuseUntrustedHooks(config, row.repo_root);
    const path = worktreePath(config, deps.home, row);
    const answer = await claimSlot(deps.store, {
      ...{ session_id: row.id, path, max: config.max_worktrees, now: deps.clock.now() },
    });
    if (answer.row === null) {
      if (answer.why === 'path_taken')
        throw new AppError('refused', 'worktree_exists', `another session has a worktree at ${path}`);
      return answer.why === 'full' ? 'full' : 'wait';
    }
    slot = answer.row;
    const wanting = { ...row, branch: row.branch, base_ref: row.base_ref };
    const at = await fromItsWork(deps, wanting, slot);
    slot = at.slot;
    return await makeWorktree(deps, at.row, slot);
  } catch (error) {
    // A busy store or a full disk is no failure of this session's: it is tried again.
    if (!(error instanceof AppError) || error.kind === 'bug' || error.kind === 'unavailable') throw error;
    const code = error.code === 'live_owner' ? `${error.code}: ` : '';
    const hint = error.details.hint === undefined ? '' : `; ${error.details.hint}`;
    await failSession(deps, row, `worktree_error: ${code}${error.message}${hint}`);
    if (slot !== null) await undoClaim(deps, slot);
    return 'failed';
  }
}

/** Longer than any checkout and any hook should take. */
const UNFINISHED_MS = 15 * 60_000;

async function makeWorktree(deps: Deps, row: Wanting, slot: WorktreeRow): Promise<Prepared> {
  const { path } = slot;
  const place = { repo_root: row.repo_root, path, clock: deps.clock };
  // Settling asks again; here nothing has been begun yet.
  const owner = await otherOwner(deps.store, slot, ownerProbe(deps.clock.now()));
  if (owner !== null) throw threadTaken(slot.branch, owner);
  let existing = await findRepository(path);
  if (existing?.root === path && existing.is_unfinished) {
    if (processesNaming(path).length > 0) return overdue(deps, slot, `git is still making the worktree ${path}`);
    await dropUnfinished(place);
    existing = null;
  }
  const isMade = existing?.root === path && existing.main_root === row.repo_root && existing.branch === row.branch;
  if (!isMade) await checkOut(deps, row, path);
  const record = String(slot.claimed_at);
  if (!hasSucceeded(deps, row.id, 'after_create', record)) {
    // The hook of a supervisor that was killed: two of them at once would be in each other's way.
    if (isMade && processesInside(path).length > 0)
      return overdue(deps, slot, `something is still running in the new worktree ${path}`);
    await include(deps, row, path);
    await mustRunHook(deps, 'after_create', row, path, record);
  }
  const anchor = await describeCommit(row.repo_root, row.base_ref);
  const now = deps.clock.now();
  if (await settleSlot(deps.store, { session_id: row.id, path, anchor, probe: ownerProbe(now), now })) return 'ready';
  // It was stopped meanwhile.
  await undoClaim(deps, slot);
  return 'wait';
}

/** Not for ever: whoever waits unseen waits for nobody. */
function overdue(deps: Deps, slot: WorktreeRow, what: string): Prepared {
  if (deps.clock.now() - slot.claimed_at < UNFINISHED_MS) return 'wait';
  throw new AppError('failed', 'worktree_unfinished', what, {
    hint: 'End that process, then resume the session.',
    data: { path: slot.path, pids: [...processesNaming(slot.path), ...processesInside(slot.path)] },
  });
}

/** A branch that is there already is the session's own when it had a worktree before, or nothing was done on it. */
async function checkOut(deps: Deps, row: Wanting, path: string): Promise<void> {
  const place = { repo_root: row.repo_root, path, clock: deps.clock };
  const head = await resolveCommit(row.repo_root, `refs/heads/${row.branch}`);
  const isOwn = row.base_commit !== null || row.recovered_from !== null || head === row.base_ref;
  if (head !== null && isOwn) return reopenWorktree(place, row.branch);
  await forgetWorktree(place);
  await addWorktree({ ...place, branch: row.branch, base_commit: row.base_ref });
}

/** Without those files the work may be harder; that is for the session to find out, not for us to end it. */
async function include(deps: Deps, row: SessionRow, path: string): Promise<void> {
  const say = (level: 'info' | 'warning', data: unknown) =>
    recordEvent(deps.store, {
      ...{ session_id: row.id, turn: null, type: level === 'info' ? 'worktree_include' : 'warning', level },
      ...{ data, at: deps.clock.now() },
    });
  try {
    const included = await copyIncluded(row.repo_root, path);
    if (included === null) return;
    const { left_out, more } = included;
    if (included.files > 0) await say('info', included);
    if (left_out.length > 0) await say('warning', { warning: 'worktree_include', left_out, more });
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug' || error.kind === 'unavailable') throw error;
    await say('warning', { warning: 'worktree_include', message: error.message });
  }
}

/**
 * Before a session goes on in its worktree: it is there, and files of `.worktreeinclude` that are missing are brought again,
 * whose failure is only a warning (E-147).
 */
async function checkWorktree(deps: Deps, row: SessionRow, path: string): Promise<Prepared> {
  if (isDirectory(path)) {
    await include(deps, row, path);
    return 'ready';
  }
  const git = `git -C ${quoted(row.repo_root)} worktree`;
  const back = `${git} prune && ${git} add ${quoted(path)} ${quoted(row.branch ?? 'HEAD')}`;
  await failSession(deps, row, `worktree_missing: ${path} does not exist; bring it back from its branch: ${back}`);
  return 'failed';
}

/**
 * Takes back what a claim has led to whose session will not start (E-016): an unfinished checkout, a worktree in which
 * nothing was done, its branch, the slot. The slot is taken first, so that a session that is resumed meanwhile waits (I22).
 * `kept`: there is something of somebody's in it. `busy`: it is being worked in, or its session wants it again.
 */
export async function undoClaim(deps: Deps, slot: WorktreeRow): Promise<'undone' | 'kept' | 'busy'> {
  if (!(await takeStray(deps.store, slot, deps.clock.now()))) return 'busy';
  let came: 'undone' | 'kept' | 'busy' = 'kept';
  try {
    came = await undoCheckout(deps, slot);
  } finally {
    if (came === 'undone') await dropSlot(deps.store, slot);
    else await returnStray(deps.store, slot);
  }
  return came;
}

async function undoCheckout(deps: Deps, slot: WorktreeRow): Promise<'undone' | 'kept' | 'busy'> {
  const { path, repo_root, branch, base_commit } = slot;
  const place = { repo_root, path, clock: deps.clock };
  if (processesNaming(path).length > 0) return 'busy';
  const found = await findRepository(path);
  if (found?.root === path && found.main_root === repo_root && !(await dropUnfinished(place))) {
    if (processesInside(path).length > 0) return 'busy';
    const facts = await workFacts(path, null);
    if (facts === null || facts.dirty.length > 0 || facts.in_progress !== null || facts.branch !== branch)
      return 'kept';
    if ((await lookInside(found)).nested.length > 0) return 'kept';
    await removeCleanWorktree(place);
  } else if (isDirectory(repo_root)) await forgetWorktree(place);
  // Who has reserved the branch counts on it.
  const owner = await otherOwner(deps.store, slot, ownerProbe(deps.clock.now()));
  if (owner === null) await dropFreshBranch(repo_root, branch, base_commit);
  return 'undone';
}

async function dropFreshBranch(repo_root: string, branch: string, base_commit: string): Promise<void> {
  if (!isDirectory(repo_root)) return;
  try {
    if ((await resolveCommit(repo_root, `refs/heads/${branch}`)) === base_commit)
      await removeMergedBranch(repo_root, branch);
  } catch (error) {
    // It stays, on a commit that others have as well: nothing is lost, and the session finds it when it is resumed.
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
  }
}
