import { type PathReservationRow, RESERVATION_TTL_MS } from '../model/reservation.ts';
import type { Store, Tx } from './store.ts';

const OPEN = 'released_at IS NULL AND (expires_at IS NULL OR expires_at > :now)';

const ANY = 'SELECT 1 FROM path_reservations WHERE repo_root = :repo_root AND released_at IS NULL LIMIT 1';

interface OpenOf {
  /** null: every repository. */
  repo_root: string | null;
  now: number;
  /** Not those of this session. */
  not_of?: string;
  limit?: number;
}

/** Wishes for files of a repository that stand now, oldest first. One look into a small index. */
export function openPathReservations(tx: Tx, { repo_root, not_of, now, limit }: OpenOf): PathReservationRow[] {
  // Before every turn this is asked, and mostly there are none: sorting nothing costs ten times as much.
  if (repo_root !== null && tx.get(ANY, { repo_root }) === null) return [];
  const where = repo_root === null ? '' : 'repo_root = :repo_root AND ';
  const others = not_of === undefined ? '' : 'owner_session_id IS NOT :not_of AND ';
  return tx.all<PathReservationRow>(
    `SELECT * FROM path_reservations WHERE ${where}${others}${OPEN} ORDER BY created_at, id LIMIT :limit`,
    {
      ...{ now, limit: limit ?? 1_000 },
      ...(repo_root === null ? {} : { repo_root }),
      ...(not_of === undefined ? {} : { not_of }),
    },
  );
}

export async function listPathReservations(store: Store, of: OpenOf): Promise<PathReservationRow[]> {
  return store.read((tx) => openPathReservations(tx, of));
}

export type NewPathReservation = Omit<PathReservationRow, 'id' | 'released_at'>;

/**
 * Stores wishes, and returns what stood before, the same owner's included. The same pattern of the same owner again is
 * the same wish with a new reason and end. What is over is swept on the way.
 */
export async function addPathReservations(
  store: Store,
  input: { wanted: readonly NewPathReservation[]; new_id: () => string; now: number },
): Promise<{ rows: PathReservationRow[]; before: PathReservationRow[] }> {
  return store.write((tx) => {
    sweep(tx, input.now);
    const [first] = input.wanted;
    const before = first === undefined ? [] : openPathReservations(tx, { repo_root: first.repo_root, now: input.now });
    return { rows: input.wanted.map((wanted) => renewed(tx, wanted) ?? inserted(tx, wanted, input.new_id)), before };
  });
}

function sweep(tx: Tx, now: number): void {
  tx.run('UPDATE path_reservations SET released_at = expires_at WHERE released_at IS NULL AND expires_at <= :now', {
    now,
  });
  tx.run('DELETE FROM path_reservations WHERE released_at <= :cutoff', { cutoff: now - RESERVATION_TTL_MS });
}

function renewed(tx: Tx, wanted: NewPathReservation): PathReservationRow | null {
  const { repo_root, glob, owner_session_id, owner_name, reason, expires_at } = wanted;
  return tx.get<PathReservationRow>(
    `UPDATE path_reservations SET reason = :reason, expires_at = :expires_at
     WHERE repo_root = :repo_root AND released_at IS NULL AND glob = :glob AND owner_session_id IS :owner_session_id
       AND owner_name = :owner_name RETURNING *`,
    { repo_root, glob, owner_session_id, owner_name, reason, expires_at },
  );
}

function inserted(tx: Tx, wanted: NewPathReservation, new_id: () => string): PathReservationRow {
  for (;;) {
    const row = tx.get<PathReservationRow>(
      `INSERT INTO path_reservations (id, repo_root, glob, owner_session_id, owner_name, reason, created_at, expires_at)
       VALUES (:id, :repo_root, :glob, :owner_session_id, :owner_name, :reason, :created_at, :expires_at)
       ON CONFLICT (id) DO NOTHING RETURNING *`,
      { ...wanted, id: new_id() },
    );
    if (row !== null) return row;
  }
}

/** Ends one wish; null when it is not open (any more). */
export async function releasePathReservation(
  store: Store,
  input: { id: string; now: number },
): Promise<PathReservationRow | null> {
  return store.write((tx) =>
    tx.get<PathReservationRow>(
      `UPDATE path_reservations SET released_at = :now WHERE id = :id AND ${OPEN} RETURNING *`,
      input,
    ),
  );
}

/** All of a session end with it (MODEL §2.4). */
export function endPathReservations(tx: Tx, owner_session_id: string, now: number): void {
  tx.run(
    'UPDATE path_reservations SET released_at = :now WHERE owner_session_id = :owner_session_id AND released_at IS NULL',
    { owner_session_id, now },
  );
}
