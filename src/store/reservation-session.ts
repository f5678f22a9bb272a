import { newId } from '../model/id.ts';
import type { WorktreeRow } from '../model/merge.ts';
import { type Anchor, nativeActorKey, type ReservationRow } from '../model/reservation.ts';
import { threadTaken } from '../model/reservation-advice.ts';
import type { SessionRow } from '../model/session.ts';
import { endPathReservations } from './path-reservation.ts';
import { activeOn, NEWEST_FIRST, type NewReservation, type OwnerProbe, reserveIn } from './reservation.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';
import { ensureThreadIn } from './thread.ts';

/**
 * What a session holds ends with it, in the transaction of its end (MODEL §2.4, I19): `complete` when it has completed,
 * else `abandoned`, with what it has used (H-17); its wishes for files are over.
 */
export function endReservations(tx: Tx, session: SessionRow, now: number): void {
  tx.run(
    `UPDATE reservations SET status = :to, completed_at = :now, input_tokens = :input_tokens,
       output_tokens = :output_tokens, reasoning_tokens = :reasoning_tokens, tool_calls = :tool_calls, cost_micros = :cost_micros
     WHERE owner_session_id = :id AND status = 'active'`,
    {
      id: session.id,
      to: session.state === 'completed' ? 'complete' : 'abandoned',
      now,
      input_tokens: session.input_tokens,
      output_tokens: session.output_tokens,
      reasoning_tokens: session.reasoning_tokens,
      tool_calls: session.tool_calls,
      cost_micros: session.cost_micros,
    },
  );
  endPathReservations(tx, session.id, now);
}

/**
 * A session that is put back to work has again what its end has taken from it: a new row each, with the token of the old
 * one. `ended` is the row as it was before. Throws `live_owner` (3) when somebody else has a thread by now.
 */
export function reacquireReservations(tx: Tx, ended: SessionRow, probe: OwnerProbe, now: number): void {
  const lost = tx.all<ReservationRow>(
    `SELECT * FROM reservations WHERE owner_session_id = :id AND status = 'abandoned' AND completed_at = :ended_at ${NEWEST_FIRST}`,
    { id: ended.id, ended_at: ended.ended_at },
  );
  for (const row of lost) {
    const { status: _status, completed_at: _completed_at, ...draft } = row;
    const times = { started_at: now, heartbeat_at: now, last_progress_at: now };
    const build = (session_id: string) => ({ ...draft, ...times, session_id });
    const of = { repo_root: row.repo_root, thread: row.thread, new_id: () => newId('agent'), build };
    const found = reserveIn(tx, { ...of, probe, now });
    if (found.outcome === 'live_owner') throw threadTaken(row.thread, found.entry);
  }
}

/** For whoever has no eyes for processes: nobody loses anything by it. */
export const NOBODY_KNOWS: OwnerProbe = () => 'unknown';

/**
 * A session with a worktree has the branch of it alone, by the way everybody has (H-36, I6), until its end: no process and
 * no lease ends it before. What it has already stays its own. `anchor`: where its work begins; without it that of the
 * reservation before counts. Throws `live_owner` (3) when somebody else has the branch.
 */
export function reserveBranch(
  tx: Tx,
  session: SessionRow,
  { anchor, probe, now }: { anchor?: Anchor; probe: OwnerProbe; now: number },
): void {
  const { id, repo_root, branch, worktree_path } = session;
  if (branch === null || worktree_path === null) return;
  const base = anchor ?? anchorBefore(tx, session, branch);
  const owner = activeOn(tx, repo_root, branch);
  if (owner?.owner_session_id === id) keep(tx, owner, worktree_path);
  else {
    let tries = 0;
    const found = reserveIn(tx, {
      ...{ repo_root, thread: branch, probe, now },
      new_id: () => (tries++ === 0 ? id : newId('agent')),
      build: (session_id) => ({
        ...branchReservation(session, { session_id, branch, base, now }),
        ...keysOf(tx, session),
      }),
    });
    if (found.outcome === 'live_owner') throw threadTaken(branch, found.entry);
  }
  if (base.tree === '') return;
  const { base_branch: target_branch } = session;
  const thread = { repo_root, branch, target_branch, base_commit: base.commit, base_tree: base.tree };
  ensureThreadIn(tx, { ...thread, task: firstLine(session), execution_path: worktree_path }, now);
}

/** Its life is the session's, whatever it was tied to. */
function keep(tx: Tx, { session_id }: ReservationRow, path: string): void {
  tx.run(
    `UPDATE reservations SET path = :path, pid = NULL, pid_start_time = NULL, boot_id = NULL, lease_ms = NULL
     WHERE session_id = :session_id`,
    { session_id, path },
  );
}

/** As it was when the session, or the one it goes on for, had it last; of a session from before there is less to know. */
function anchorBefore(
  tx: Tx,
  { id, recovered_from, repo_root, branch, ...session }: SessionRow,
  thread: string,
): Anchor {
  const before = tx.get<ReservationRow>(
    `SELECT * FROM reservations WHERE repo_root = :repo_root AND thread = :thread
       AND owner_session_id IN (:id, :recovered_from) AND anchor_commit IS NOT NULL ${NEWEST_FIRST} LIMIT 1`,
    { id, recovered_from, repo_root, thread },
  );
  const commit = before?.anchor_commit ?? session.base_commit ?? session.base_ref ?? '';
  return {
    commit,
    commit_short: before?.base_short ?? commit.slice(0, 7),
    tree: '',
    tree_short: before?.anchor_tree ?? '',
  };
}

function branchReservation(
  session: SessionRow,
  { session_id, branch, base, now }: { session_id: string; branch: string; base: Anchor; now: number },
): Omit<NewReservation, NativeKey> {
  const { id, repo_root, worktree_path, harness, model } = session;
  return {
    ...{ session_id, repo_root, thread: branch, started_at: now, heartbeat_at: now, last_progress_at: now },
    ...{ token_hash: null, pid: null, pid_start_time: null, boot_id: null, liveness_path: null, lease_ms: null },
    ...{ anchor_commit: base.commit || null, anchor_tree: base.tree_short || null, base_short: base.commit_short },
    ...{ path: worktree_path, owner_session_id: id, harness, model, provider: null, thinking_level: null },
    ...{ client_instance_id: null, native_instance_key: null },
    ...{ input_tokens: null, output_tokens: null, reasoning_tokens: null, tool_calls: null, cost_micros: null },
    ...{ report_flush_state: null, attach_reason: firstLine(session), attach_precedence_json: '["worktree"]' },
    ...{ winning_attach_rule: 'worktree', probe_source: 'session', probe_confidence: 1 },
  };
}

type NativeKey = 'native_actor_key' | 'native_parent_actor_key';

function keysOf(tx: Tx, session: SessionRow): Record<NativeKey, string | null> {
  const parent = session.parent_id === null ? null : readSession(tx, session.parent_id);
  return { native_actor_key: nativeActorKey(session), native_parent_actor_key: nativeActorKey(parent) };
}

/**
 * The harness has said how it knows this session (H-13): what the session and its children hold says so, too (H-49, H-52). A
 * key that somebody has given stays.
 */
export function noteNativeKey(tx: Tx, session: Pick<SessionRow, 'id' | 'harness' | 'native_session_id'>): void {
  const is_own = (key: NativeKey) => `status = 'active' AND (${key} IS NULL OR winning_attach_rule = 'worktree')`;
  const set = { id: session.id, key: nativeActorKey(session) };
  tx.run(
    `UPDATE reservations SET native_actor_key = :key WHERE owner_session_id = :id AND ${is_own('native_actor_key')}`,
    set,
  );
  tx.run(
    `UPDATE reservations SET native_parent_actor_key = :key
     WHERE owner_session_id IN (SELECT id FROM sessions WHERE parent_id = :id) AND ${is_own('native_parent_actor_key')}`,
    set,
  );
}

function firstLine({ task }: SessionRow): string | null {
  return task.trim().split('\n', 1)[0]?.trim() || null;
}

/** Who else has the branch of a worktree and may live; null: nobody. */
export async function otherOwner(
  store: Store,
  { repo_root, branch, session_id }: Pick<WorktreeRow, 'repo_root' | 'branch' | 'session_id'>,
  probe: OwnerProbe,
): Promise<ReservationRow | null> {
  const owner = await store.read((tx) => activeOn(tx, repo_root, branch));
  return owner === null || owner.owner_session_id === session_id || probe(owner) === 'dead' ? null : owner;
}
