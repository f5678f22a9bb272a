import { AppError } from './error.ts';
import type { ReservationRow, ReservationStatus } from './reservation.ts';

/**
 * Who may become what (MODEL §3, CX-05): the `IN (…)` list of the one guarded UPDATE. `abandoned` and `merged` are final;
 * the same status again changes nothing and is no failure. Only the merge of the thread may take an active one to `merged`.
 */
const PREDECESSORS: Record<ReservationStatus, readonly ReservationStatus[]> = {
  active: [],
  complete: ['active'],
  abandoned: ['active'],
  merged: ['complete'],
};

/** Who moves it: its owner, or the merge of its thread. */
export type ReservationMover = 'owner' | 'merge';

/** Statuses that may become `to` by this mover; empty: none. */
export function reservationPredecessors(to: ReservationStatus, mover: ReservationMover): readonly ReservationStatus[] {
  return to === 'merged' && mover === 'merge' ? ['active', ...PREDECESSORS.merged] : PREDECESSORS[to];
}

/** Alive, dead, or nobody knows: only what is dead may be taken from its owner (H-30, H-34). */
export type OwnerLife = 'alive' | 'dead' | 'unknown';

/**
 * What is known of a reservation's owner. `process` is what the kernel says of its pid (H-31). With a lease the sign of life
 * decides: silent for longer than it, the owner is dead, and until then it is not, whatever became of its process (CX-03).
 */
export function ownerLife(
  row: Pick<ReservationRow, 'status' | 'lease_ms' | 'heartbeat_at' | 'started_at'>,
  process: OwnerLife,
  now: number,
): OwnerLife {
  if (row.status !== 'active') return 'dead';
  if (row.lease_ms === null) return process;
  if (now - (row.heartbeat_at ?? row.started_at) > row.lease_ms) return 'dead';
  return process === 'alive' ? 'alive' : 'unknown';
}

/** Ids of reservations: they become parts of paths and of commands (H-03). */
export const RESERVATION_ID = /^[a-z0-9-]+$/;

/** Throws `session_id_invalid` (2) before anything is looked at (H-03). */
export function checkReservationId(id: string): string {
  if (RESERVATION_ID.test(id)) return id;
  throw new AppError(
    'usage',
    'session_id_invalid',
    `invalid session ID '${id}': only lowercase alphanumeric and hyphens allowed`,
    { hint: '`drover reservations` lists them.', preserved: 'nothing was looked up or changed' },
  );
}

/**
 * What is wrong with a row, or null (H-11, CX-42). Other ways than drover may have written it; what columns and checks of the
 * database hold by themselves is not looked at again.
 */
export function corruptionOf(row: ReservationRow): string | null {
  if (!RESERVATION_ID.test(row.session_id)) return 'its id has characters that no id has';
  if (precedenceOf(row) === null) return 'attach_precedence_json is not a list of texts';
  const { probe_confidence: share } = row;
  return share === null || (share >= 0 && share <= 1) ? null : 'probe_confidence is not between 0 and 1';
}

/** The rules that were tried, in order (H-16); null when the column is no JSON array of texts. */
function precedenceOf({ attach_precedence_json }: Pick<ReservationRow, 'attach_precedence_json'>) {
  try {
    const list: unknown = JSON.parse(attach_precedence_json);
    return Array.isArray(list) && list.every((word) => typeof word === 'string') ? (list as string[]) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
