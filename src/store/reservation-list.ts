import type { ReservationRow } from '../model/reservation.ts';
import { corruptionOf } from '../model/reservation-machine.ts';
import { cutoffOf, NEWEST_FIRST, NOT_EXPIRED } from './reservation.ts';
import type { Params, Store, Tx } from './store.ts';

/** Exact values, active rows only unless it says otherwise (H-46…H-50). */
export interface ReservationQuery {
  /** null: every repository. */
  repo_root: string | null;
  active_only: boolean;
  thread?: string | undefined;
  client_instance_id?: string | undefined;
  native_actor_key?: string | undefined;
  native_instance_key?: string | undefined;
  owner_session_id?: string | undefined;
  session_id?: string | undefined;
}

const EXACT = [
  'thread',
  'client_instance_id',
  'native_actor_key',
  'native_instance_key',
  'owner_session_id',
  'session_id',
] as const satisfies (keyof ReservationQuery)[];

export interface Reservations {
  rows: ReservationRow[];
  /** Rows that something else has written and that cannot be used: they stand in nobody's way (CX-42). */
  corrupt: { session_id: string; thread: string; problem: string }[];
  /** Rows that are there and have expired: whoever may write deletes them. */
  expired: number;
}

/** Newest first (H-26, H-51), without what has expired. */
export async function listReservations(store: Store, query: ReservationQuery, now: number): Promise<Reservations> {
  const where = [NOT_EXPIRED];
  const params: Params = { cutoff: cutoffOf(now) };
  if (query.active_only) where.push("status = 'active'");
  if (query.repo_root !== null) {
    where.push('repo_root = :repo_root');
    params.repo_root = query.repo_root;
  }
  for (const column of EXACT) {
    const value = query[column];
    if (value === undefined) continue;
    where.push(`${column} = :${column}`);
    params[column] = value;
  }
  return store.read((tx) => {
    const found = tx.all<ReservationRow>(
      `SELECT * FROM reservations WHERE ${where.join(' AND ')} ${NEWEST_FIRST}`,
      params,
    );
    const judged = found.map((row) => ({ row, problem: corruptionOf(row) }));
    return {
      rows: judged.filter(({ problem }) => problem === null).map(({ row }) => row),
      corrupt: judged.flatMap(({ row: { session_id, thread }, problem }) =>
        problem === null ? [] : [{ session_id, thread, problem }],
      ),
      expired: expired(tx, now),
    };
  });
}

function expired(tx: Tx, now: number): number {
  const sql = `SELECT count(*) AS n FROM reservations WHERE status <> 'active' AND coalesce(completed_at, started_at) <= :cutoff`;
  return tx.get<{ n: number }>(sql, { cutoff: cutoffOf(now) })?.n ?? 0;
}

/** The repository of a reservation, whatever else is wrong with its row; null: there is no such row. */
export async function repositoryOf(store: Store, session_id: string): Promise<string | null> {
  const sql = 'SELECT repo_root FROM reservations WHERE session_id = :session_id';
  return (await store.read((tx) => tx.get<{ repo_root: string }>(sql, { session_id })))?.repo_root ?? null;
}

/**
 * Who started whom, root first, by the harness's own keys (H-52): from a reservation along `native_parent_actor_key` to
 * the row that has it as `native_actor_key`. Of several the active one, then the newest (CX-43); a circle ends where it
 * closes (H-54). Empty for an id that nobody has (H-55).
 */
export async function actorChain(store: Store, session_id: string, now: number): Promise<ReservationRow[]> {
  return store.read((tx) => {
    const params = { cutoff: cutoffOf(now) };
    const start = tx.get<ReservationRow>(
      `SELECT * FROM reservations WHERE session_id = :session_id AND ${NOT_EXPIRED}`,
      { ...params, session_id },
    );
    const chain: ReservationRow[] = [];
    const seen = new Set<string>();
    for (let row = start; row !== null; row = parentOf(tx, row, seen, params.cutoff)) {
      chain.unshift(row);
      if (row.native_actor_key !== null) seen.add(row.native_actor_key);
    }
    return chain;
  });
}

function parentOf(tx: Tx, row: ReservationRow, seen: ReadonlySet<string>, cutoff: number): ReservationRow | null {
  const { native_parent_actor_key: key, repo_root } = row;
  if (key === null || seen.has(key)) return null;
  return tx.get<ReservationRow>(
    `SELECT * FROM reservations WHERE native_actor_key = :key AND repo_root = :repo_root AND ${NOT_EXPIRED}
     ORDER BY (status = 'active') DESC, started_at DESC, session_id LIMIT 1`,
    { key, repo_root, cutoff },
  );
}
