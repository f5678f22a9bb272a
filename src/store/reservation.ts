import { AppError } from '../model/error.ts';
import { RESERVATION_TTL_MS, type ReservationRow, type ReservationStatus } from '../model/reservation.ts';
import {
  checkReservationId,
  type OwnerLife,
  type ReservationMover,
  reservationPredecessors,
} from '../model/reservation-machine.ts';
import { sqlList } from './sql-list.ts';
import type { Params, Store, Tx } from './store.ts';

/** What a builder gives: everything of a row but its state. */
export type NewReservation = Omit<ReservationRow, 'status' | 'completed_at'>;

/** What a narrow update may set: never what makes the row what it is (status, thread, owner, token). */
export type ReservationPatch = Partial<
  Omit<
    ReservationRow,
    'session_id' | 'repo_root' | 'thread' | 'status' | 'started_at' | 'completed_at' | 'owner_session_id' | 'token_hash'
  >
>;

/** Says whether a row's owner lives; asked while the transaction stands, so it must answer at once. */
export type OwnerProbe = (row: ReservationRow) => OwnerLife;

const COLUMNS: readonly (keyof NewReservation)[] = [
  ...(['session_id', 'repo_root', 'thread', 'started_at', 'token_hash', 'pid', 'pid_start_time', 'boot_id'] as const),
  ...(['liveness_path', 'heartbeat_at', 'last_progress_at', 'lease_ms', 'anchor_commit', 'anchor_tree'] as const),
  ...(['base_short', 'path', 'client_instance_id', 'native_actor_key', 'native_parent_actor_key'] as const),
  ...(['native_instance_key', 'owner_session_id', 'provider', 'model', 'harness', 'thinking_level'] as const),
  ...(['input_tokens', 'output_tokens', 'reasoning_tokens', 'tool_calls', 'cost_micros'] as const),
  ...(['report_flush_state', 'attach_reason', 'attach_precedence_json', 'winning_attach_rule'] as const),
  ...(['probe_source', 'probe_confidence'] as const),
];
const INSERT = `INSERT INTO reservations (${COLUMNS.join(', ')}, status)
  VALUES (${COLUMNS.map((column) => `:${column}`).join(', ')}, 'active') ON CONFLICT (session_id) DO NOTHING RETURNING *`;

/** Ended for so long that it counts as gone: exactly the time to live is too long (H-29). */
const EXPIRED = "status <> 'active' AND coalesce(completed_at, started_at) <= :cutoff";
export const NOT_EXPIRED = `NOT (${EXPIRED})`;

export function cutoffOf(now: number): number {
  return now - RESERVATION_TTL_MS;
}

/** Newest first; between equals the id decides (H-26, H-51). */
export const NEWEST_FIRST = 'ORDER BY started_at DESC, session_id';

/** Deletes what has expired, of any thread; the predicate itself is the second look (H-27). */
function pruneReservations(tx: Tx, now: number): void {
  const gone = tx.all<{ session_id: string }>(`DELETE FROM reservations WHERE ${EXPIRED} RETURNING session_id`, {
    cutoff: cutoffOf(now),
  });
  for (const { session_id } of gone) dropQueries(tx, session_id);
}

/** The same for a caller that only looks. */
export async function pruneExpired(store: Store, now: number): Promise<void> {
  await store.write((tx) => pruneReservations(tx, now));
}

function dropQueries(tx: Tx, session_id: string): void {
  tx.run('DELETE FROM context_queries WHERE session_id = :session_id', { session_id });
}

/** One row; an expired one is deleted and counts as none (H-22, H-28). Throws `session_id_invalid` (2). */
function loadReservation(tx: Tx, id: string, now: number): ReservationRow | null {
  const session_id = checkReservationId(id);
  const params = { session_id, cutoff: cutoffOf(now) };
  if (tx.run(`DELETE FROM reservations WHERE session_id = :session_id AND ${EXPIRED}`, params) === 1)
    dropQueries(tx, session_id);
  return tx.get<ReservationRow>('SELECT * FROM reservations WHERE session_id = :session_id', { session_id });
}

/** The owner of a thread, dead or alive; the index lets there be one (I6). */
export function activeOn(tx: Tx, repo_root: string, thread: string): ReservationRow | null {
  return tx.get<ReservationRow>(
    "SELECT * FROM reservations WHERE repo_root = :repo_root AND thread = :thread AND status = 'active'",
    { repo_root, thread },
  );
}

/** Takes a new reservation back whose maker was never told of it. False as for one of the dead. */
export async function withdrawReservation(store: Store, seen: ReservationRow, now: number): Promise<boolean> {
  return store.write((tx) => abandonSeen(tx, seen, now));
}

/**
 * Takes a thread from an owner that was found dead; nothing else of the row changes (H-32). False when it was renewed,
 * ended or taken over since it was looked at (I7).
 */
function abandonSeen(tx: Tx, seen: ReservationRow, now: number): boolean {
  const { session_id, pid, pid_start_time, boot_id, heartbeat_at } = seen;
  return (
    tx.run(
      `UPDATE reservations SET status = 'abandoned', completed_at = :now
       WHERE session_id = :session_id AND status = 'active' AND pid IS :pid AND pid_start_time IS :pid_start_time
         AND boot_id IS :boot_id AND heartbeat_at IS :heartbeat_at`,
      { session_id, pid, pid_start_time, boot_id, heartbeat_at, now },
    ) === 1
  );
}

/**
 * Marks what is proven dead as abandoned, of one thread or of all (H-33, H-34, H-35); how many. Writes nothing when
 * nobody is dead. `repo_root` null: of every repository.
 */
export async function reapDead(
  store: Store,
  of: { repo_root: string | null; thread?: string | undefined; probe: OwnerProbe; now: number },
): Promise<number> {
  const where = ["status = 'active'"];
  const params: Params = {};
  if (of.repo_root !== null) {
    where.push('repo_root = :repo_root');
    params.repo_root = of.repo_root;
  }
  if (of.thread !== undefined) {
    where.push('thread = :thread');
    params.thread = of.thread;
  }
  const active = await store.read((tx) =>
    tx.all<ReservationRow>(`SELECT * FROM reservations WHERE ${where.join(' AND ')}`, params),
  );
  const dead = active.filter((row) => of.probe(row) === 'dead');
  if (dead.length === 0) return 0;
  return store.write((tx) => dead.filter((seen) => abandonSeen(tx, seen, of.now)).length);
}

export interface ReserveInput {
  repo_root: string;
  thread: string;
  probe: OwnerProbe;
  /** The next id to try; asked again while the one before is taken (H-05). */
  new_id: () => string;
  /** Makes the row for an id that is free (H-06). What it throws undoes everything. */
  build: (session_id: string) => NewReservation;
  /** An agent that comes back finds its own reservation again instead (H-45). */
  reconnect?: Reconnect | undefined;
  now: number;
}

/** The same agent: of the same session (null: of none), and by what its harness calls the instance. */
export type ReservationMatch = Pick<ReservationRow, 'owner_session_id'> &
  Partial<Pick<ReservationRow, 'client_instance_id' | 'native_instance_key'>>;

interface Reconnect {
  match: ReservationMatch;
  /** The process that comes back, as a row would know it. */
  process: OwnerProcess;
  update: (row: ReservationRow, life: OwnerLife) => ReservationPatch;
}

type OwnerProcess = Pick<ReservationRow, 'pid' | 'pid_start_time' | 'boot_id'>;

/** A conflict is an outcome and no exception (H-37). `reaped`: dead owners that were cleared away first. */
export type ReserveOutcome =
  | { outcome: 'reserved'; entry: ReservationRow; created: boolean; reaped: number }
  | { outcome: 'live_owner'; entry: ReservationRow; reaped: number };

/**
 * The single way to a thread, in one transaction (H-36, I6): expired rows go, a dead owner is cleared away, an owner that
 * lives or may live stays untouched and is returned, else the row is made. Rows of other threads do not count (H-43).
 */
export async function tryReserve(store: Store, input: ReserveInput): Promise<ReserveOutcome> {
  return store.write((tx) => {
    pruneReservations(tx, input.now);
    return comeBack(tx, input) ?? reserveIn(tx, input);
  });
}

/** Only the first half of it: back to what the agent has already. Null: it has nothing there, and nothing is made. */
export async function tryReconnect(store: Store, input: ReserveInput): Promise<ReserveOutcome | null> {
  return store.write((tx) => comeBack(tx, input));
}

/** The same instance may consist of several processes: one that lives keeps what it has, also from the others (H-39). */
function comeBack(tx: Tx, { reconnect, ...input }: ReserveInput): ReserveOutcome | null {
  const known = reconnect === undefined ? null : findMatch(tx, input, reconnect.match);
  if (known === null || reconnect === undefined) return null;
  const { process, update } = reconnect;
  const life = input.probe(known);
  if (life === 'alive' && !isSameProcess(known, process)) return { outcome: 'live_owner', entry: known, reaped: 0 };
  return { outcome: 'reserved', entry: patched(tx, known, update(known, life)), created: false, reaped: 0 };
}

function isSameProcess(one: OwnerProcess, other: OwnerProcess): boolean {
  return one.pid === other.pid && one.pid_start_time === other.pid_start_time && one.boot_id === other.boot_id;
}

/** The same inside another transaction, without coming back. */
export function reserveIn(tx: Tx, input: Omit<ReserveInput, 'reconnect'>): ReserveOutcome {
  const owner = activeOn(tx, input.repo_root, input.thread);
  if (owner !== null && input.probe(owner) !== 'dead') return { outcome: 'live_owner', entry: owner, reaped: 0 };
  if (owner !== null && !abandonSeen(tx, owner, input.now))
    throw new Error(`${owner.session_id} changed while it was locked`);
  const entry = insertReservation(tx, input.new_id, input.build);
  return { outcome: 'reserved', entry, created: true, reaped: owner === null ? 0 : 1 };
}

/** The newest active row of the thread that says it is the same instance (H-45). */
function findMatch(
  tx: Tx,
  { repo_root, thread }: Omit<ReserveInput, 'reconnect'>,
  match: ReservationMatch,
): ReservationRow | null {
  const keys = Object.keys(match) as (keyof ReservationMatch)[];
  return tx.get<ReservationRow>(
    `SELECT * FROM reservations WHERE repo_root = :repo_root AND thread = :thread AND status = 'active'
       ${keys.map((key) => `AND ${key} IS :${key}`).join(' ')} ${NEWEST_FIRST} LIMIT 1`,
    { repo_root, thread, ...match },
  );
}

function insertReservation(
  tx: Tx,
  new_id: () => string,
  build: (session_id: string) => NewReservation,
): ReservationRow {
  for (;;) {
    const session_id = checkReservationId(new_id());
    if (tx.get('SELECT 1 FROM reservations WHERE session_id = :session_id', { session_id }) !== null) continue;
    const draft = build(session_id);
    if (draft.session_id !== session_id)
      throw new AppError(
        'bug',
        'id_mismatch',
        `a reservation was built for ${draft.session_id} instead of ${session_id}`,
      );
    const row = tx.get<ReservationRow>(INSERT, Object.fromEntries(COLUMNS.map((column) => [column, draft[column]])));
    if (row !== null) return row;
  }
}

function patched(tx: Tx, row: ReservationRow, patch: ReservationPatch): ReservationRow {
  const set = Object.entries(patch).filter(([, value]) => value !== undefined);
  if (set.length === 0) return row;
  const updated = tx.get<ReservationRow>(
    `UPDATE reservations SET ${set.map(([column]) => `${column} = :${column}`).join(', ')}
     WHERE session_id = :session_id RETURNING *`,
    { ...(Object.fromEntries(set) as Params), session_id: row.session_id },
  );
  if (updated === null) throw new Error(`${row.session_id} went away while it was locked`);
  return updated;
}

/** Throws when the caller may not have the row; asked before anything is changed. */
type MayUse = (row: ReservationRow) => void;

/**
 * Reads, changes and writes one row in one transaction, so that no writer's change is lost (H-20, H-23). Null: no such row,
 * and none is made. `active_only`: one that has ended is returned as it is (I8).
 */
export async function updateReservation(
  store: Store,
  input: {
    session_id: string;
    active_only: boolean;
    may: MayUse;
    update: (row: ReservationRow) => ReservationPatch;
    now: number;
  },
): Promise<ReservationRow | null> {
  return store.write((tx) => {
    const row = loadReservation(tx, input.session_id, input.now);
    if (row === null) return null;
    input.may(row);
    return input.active_only && row.status !== 'active' ? row : patched(tx, row, input.update(row));
  });
}

export type Moved =
  | { ok: true; changed: boolean; row: ReservationRow }
  | { ok: false; reason: 'not_found'; row: null }
  | { ok: false; reason: 'illegal_transition'; row: ReservationRow };

/** Ends a reservation along the machine: one guarded UPDATE. The same status again keeps its time (H-24, HC-21). */
export async function moveReservation(
  store: Store,
  input: { session_id: string; to: ReservationStatus; mover: ReservationMover; may: MayUse; now: number },
): Promise<Moved> {
  return store.write((tx) => {
    const row = loadReservation(tx, input.session_id, input.now);
    if (row === null) return { ok: false, reason: 'not_found', row: null };
    input.may(row);
    return moveIn(tx, row, input);
  });
}

/** The same for a row that was read in this transaction. */
export function moveIn(
  tx: Tx,
  row: ReservationRow,
  { to, mover, now }: { to: ReservationStatus; mover: ReservationMover; now: number },
): Extract<Moved, { row: ReservationRow }> {
  if (row.status === to) return { ok: true, changed: false, row };
  const moved = tx.get<ReservationRow>(
    `UPDATE reservations SET status = :to, completed_at = coalesce(completed_at, :now)
     WHERE session_id = :session_id AND status IN (${sqlList(reservationPredecessors(to, mover))}) RETURNING *`,
    { session_id: row.session_id, to, now },
  );
  return moved === null ? { ok: false, reason: 'illegal_transition', row } : { ok: true, changed: true, row: moved };
}

/** Removes a record that has ended (H-25); `force`: an active one as well. True also when there was none. */
export async function deleteReservation(
  store: Store,
  input: { session_id: string; force: boolean; may: MayUse; now: number },
): Promise<boolean> {
  return store.write((tx) => {
    const row = loadReservation(tx, input.session_id, input.now);
    if (row === null) return true;
    input.may(row);
    if (row.status === 'active' && !input.force) return false;
    tx.run('DELETE FROM reservations WHERE session_id = :session_id', { session_id: row.session_id });
    dropQueries(tx, row.session_id);
    return true;
  });
}
