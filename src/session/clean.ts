import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import type { SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import { whileEnded } from '../store/clean.ts';
import { endSession } from '../store/settle.ts';
import { listTurns } from '../store/turn-list.ts';
import { isDirectory, listFiles } from '../sys/directory.ts';
import { ASIDE_PREFIX, moveAside, removeTree, treeBytes } from '../sys/discard.ts';
import { treeOf } from '../sys/tree.ts';
import { liveHeld, readExit } from '../sys/turn-files.ts';
import type { Deps } from './deps.ts';
import { launcherOf } from './end-tree.ts';
import { type Ignored, judgeWorktree, type Removed, removeWorktree } from './worktree-clean.ts';

export type CleanPart = 'session' | 'logs' | 'worktree' | 'branch' | 'state';

/** What goes, or went. `bytes` is known for logs only. */
export interface Removal {
  part: CleanPart;
  /** Path, name of the branch, or the change of state. */
  what: string;
  /** Of a worktree: what git ignores in it and went with it. */
  ignored?: Ignored;
  bytes: number | null;
}

export interface Kept {
  part: CleanPart;
  what: string;
  why: string;
  /** The session has to age first: the one reason that needs no attention. */
  is_young: boolean;
}

export interface Cleaned {
  id: string;
  name: string;
  state: string;
  ended_at: number | null;
  removed: Removal[];
  kept: Kept[];
}

export interface CleanRequest {
  /** The sessions to look at. */
  rows: readonly SessionRow[];
  /** They were named by a person: a live one is refused instead of passed over. */
  is_named: boolean;
  /** Time since the end, ms; younger ones are kept whole. */
  older_than_ms: number;
  dry_run: boolean;
}

/**
 * Removes what ended sessions left behind: their log directories, and worktrees that hold nothing of their own together
 * with their merged branches (E-148…E-151, O-81, O-85, I22). Rows, events and mail stay; a zombie becomes completed.
 * What is dirty, unmerged or in use is kept and said so; nothing is forced. With `dry_run` nothing is touched.
 * Throws `session_live`, `turn_still_ending` (3) for a named session, before anything is removed.
 */
export async function clean(deps: Deps, request: CleanRequest): Promise<Cleaned[]> {
  const now = deps.clock.now();
  const looks: Look[] = [];
  for (const row of request.rows) looks.push(await lookAt(deps, row, request, now));
  if (!request.dry_run) sweepAside(deps);
  const ids = looks.filter((look) => look.blocked === null).map((look) => look.row.id);
  const done: Cleaned[] = [];
  const work: Work = { ids, dry_run: request.dry_run, worktrees: new Set() };
  for (const look of looks) done.push(await cleanOne(deps, look, work));
  return done;
}

interface Work {
  /** Every session that is cleaned in this call. */
  ids: readonly string[];
  dry_run: boolean;
  /** Paths that were dealt with: a recovered session has the worktree of the one before. */
  worktrees: Set<string>;
}

interface Look {
  row: SessionRow;
  turns: TurnRow[];
  /** Why the whole session is left alone. */
  blocked: Kept | null;
}

async function lookAt(deps: Deps, row: SessionRow, request: CleanRequest, now: number): Promise<Look> {
  const turns = await listTurns(deps.store, row.id);
  const keep = (why: string, is_young = false): Look => ({
    row,
    turns,
    blocked: { part: 'session', what: row.name, why, is_young },
  });
  const open = turns.find((turn) => turn.ended_at === null);
  if (row.ended_at === null) {
    if (request.is_named)
      throw refuse('session_live', `Cannot delete active session ${row.id} while it is ${row.state}`, row);
    return keep(`it is ${row.state}`);
  }
  if (open !== undefined) {
    const why = `turn ${open.turn} of ${row.name} is still being ended`;
    if (request.is_named) throw refuse('turn_still_ending', `${why}.`, row);
    return keep(why);
  }
  if (now - row.ended_at < request.older_than_ms) return keep('it has not been over for long enough', true);
  const alive = turns.find((turn) => hasProcesses(turn));
  return alive === undefined ? { row, turns, blocked: null } : keep(`processes of turn ${alive.turn} are alive`);
}

function refuse(code: string, message: string, row: SessionRow): AppError {
  return new AppError('refused', code, message, {
    hint: 'Stop it first; a stopped session can be resumed as long as it is not cleaned.',
    preserved: 'nothing was removed',
    recovery_commands: [`drover stop ${row.name}`],
  });
}

/** Only a turn whose tree was not proven gone, or whose launcher still holds its lock, is worth a look at /proc. */
function hasProcesses(turn: TurnRow): boolean {
  if (liveHeld(turn.dir)) return true;
  if (turn.tree_empty !== 0) return false;
  const launcher_end_uptime_ms = readExit(turn.dir)?.uptime_ms ?? null;
  return treeOf({ marker: turn.marker, launcher: launcherOf(turn), launcher_end_uptime_ms }).length > 0;
}

/** Directories that a clean which was killed had moved out of the way. */
function sweepAside(deps: Deps): void {
  const dir = homePaths.session(deps.home, '').replace(/\/$/, '');
  for (const name of listFiles(dir)) if (name.startsWith(ASIDE_PREFIX)) removeTree(`${dir}/${name}`);
}

async function cleanOne(deps: Deps, { row, blocked }: Look, work: Work): Promise<Cleaned> {
  const done: Cleaned = { id: row.id, name: row.name, state: row.state, ended_at: row.ended_at, removed: [], kept: [] };
  if (blocked !== null) return { ...done, kept: [blocked] };
  await cleanState(deps, row, done, work.dry_run);
  await cleanWorktree(deps, row, work, done);
  await cleanLogs(deps, row, done, work.dry_run);
  return done;
}

async function cleanState(deps: Deps, row: SessionRow, done: Cleaned, dry_run: boolean): Promise<void> {
  if (row.state !== 'zombie') return;
  const change: Removal = { part: 'state', what: 'zombie → completed', bytes: null };
  if (dry_run) done.removed.push(change);
  else {
    const input = {
      session_id: row.id,
      event: 'clean' as const,
      actor: 'cli' as const,
      reason: 'clean',
      died: false,
      now: deps.clock.now(),
    };
    if ((await endSession(deps.store, input)) !== null) {
      done.removed.push(change);
      done.state = 'completed';
    }
  }
}

async function cleanLogs(deps: Deps, row: SessionRow, done: Cleaned, dry_run: boolean): Promise<void> {
  const dir = homePaths.session(deps.home, row.id);
  if (!isDirectory(dir)) return;
  const removal: Removal = { part: 'logs', what: dir, bytes: treeBytes(dir) };
  if (dry_run) {
    done.removed.push(removal);
    return;
  }
  let aside: string | null = null;
  // One rename in the transaction: a session that is resumed right after finds a place of its own.
  const wasEnded = await whileEnded(deps.store, row.id, () => {
    aside = moveAside(dir);
  });
  if (aside !== null) removeTree(aside);
  if (wasEnded) done.removed.push(removal);
  else done.kept.push({ part: 'logs', what: dir, why: 'it was resumed just now', is_young: false });
}

async function cleanWorktree(
  deps: Deps,
  row: SessionRow,
  { ids, dry_run, worktrees }: Work,
  done: Cleaned,
): Promise<void> {
  const path = row.worktree_path;
  if (path === null || worktrees.has(path)) return;
  worktrees.add(path);
  const keep = (part: CleanPart, what: string, why: string) => done.kept.push({ part, what, why, is_young: false });
  const remove = (part: CleanPart, what: string) => done.removed.push({ part, what, bytes: null });
  const owned = { row, path, ids };
  const verdict = await judgeWorktree(deps, owned);
  if (verdict.why !== null) return void keep('worktree', path, verdict.why);
  const result: Removed = dry_run
    ? { ...verdict, removed: true, saved: null, nested: [] }
    : await removeWorktree(deps, owned, verdict);
  if (!result.removed) return void keep('worktree', path, result.why);
  const { ignored } = result;
  done.removed.push({ part: 'worktree', what: path, bytes: null, ...(ignored.files > 0 ? { ignored } : {}) });
  if (result.branch !== null) remove('branch', result.branch);
  if (result.branch_kept !== null) keep('branch', row.branch ?? '', result.branch_kept);
}
