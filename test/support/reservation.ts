import type { Clock } from '../../src/model/clock.ts';
import { newId } from '../../src/model/id.ts';
import type { ReservationRow } from '../../src/model/reservation.ts';
import type { OwnerLife } from '../../src/model/reservation-machine.ts';
import { ownerProbe } from '../../src/session/owner-probe.ts';
import { type NewReservation, type ReserveOutcome, tryReserve } from '../../src/store/reservation.ts';
import type { Store } from '../../src/store/store.ts';
import { bootId, ownIdentity } from '../../src/sys/identity.ts';

export const REPO = '/farm';
export const DAY_MS = 86_400_000;
/** No process has it: above what a kernel hands out. */
export const DEAD_PID = 2_147_483_647;

/** A whole row; active, of nobody whose life is known, unless it says otherwise. */
export function reservationRow(more: Partial<ReservationRow> = {}): ReservationRow {
  const nothing = [
    ...(['token_hash', 'pid', 'pid_start_time', 'boot_id', 'liveness_path', 'lease_ms', 'anchor_commit'] as const),
    ...(['anchor_tree', 'path', 'client_instance_id', 'native_actor_key', 'native_parent_actor_key'] as const),
    ...(['native_instance_key', 'owner_session_id', 'provider', 'model', 'harness', 'thinking_level'] as const),
    ...(['input_tokens', 'output_tokens', 'reasoning_tokens', 'tool_calls', 'cost_micros'] as const),
    ...(['report_flush_state', 'attach_reason', 'winning_attach_rule', 'probe_source', 'probe_confidence'] as const),
    ...(['completed_at', 'heartbeat_at', 'last_progress_at'] as const),
  ];
  const empty = Object.fromEntries(nothing.map((column) => [column, null])) as Pick<
    ReservationRow,
    (typeof nothing)[number]
  >;
  const { status = 'active', started_at = Date.now() } = more;
  return {
    ...empty,
    ...{ session_id: newId('agent'), repo_root: REPO, thread: 'main', status, started_at, base_short: 'abc1234' },
    ...{ attach_precedence_json: '[]', completed_at: status === 'active' ? null : started_at },
    ...more,
  };
}

/** Writes rows as they are, past every rule but the table's own. */
export async function putReservations(store: Store, ...rows: Partial<ReservationRow>[]): Promise<ReservationRow[]> {
  const whole = rows.map(reservationRow);
  await store.write((tx) => {
    for (const row of whole) {
      const columns = Object.keys(row);
      tx.run(
        `INSERT INTO reservations (${columns.join(', ')}) VALUES (${columns.map((column) => `:${column}`).join(', ')})`,
        { ...row },
      );
    }
  });
  return whole;
}

/** Every row there is, by id. */
export async function allReservations(store: Store): Promise<ReservationRow[]> {
  return store.read((tx) => tx.all<ReservationRow>('SELECT * FROM reservations ORDER BY session_id'));
}

export async function rowOf(store: Store, session_id: string): Promise<ReservationRow | null> {
  return (await allReservations(store)).find((row) => row.session_id === session_id) ?? null;
}

export function draft(session_id: string, more: Partial<NewReservation> = {}): NewReservation {
  const { status: _status, completed_at: _completed_at, ...row } = reservationRow({ session_id, ...more });
  return row;
}

/** This process, as an owner that lives. */
export function living(): Pick<ReservationRow, 'pid' | 'pid_start_time' | 'boot_id'> {
  const { pid, start_time, boot_id } = ownIdentity();
  return { pid, pid_start_time: start_time, boot_id };
}

/** An owner that is dead for two reasons. */
export const DEAD = { pid: DEAD_PID, boot_id: 'stale' };
export const thisBoot = bootId;

/** Reserves as an agent would that holds it for this process. */
export async function reserveThread(
  { store, clock }: { store: Store; clock: Clock },
  thread: string,
  more: { ids?: string[]; draft?: Partial<NewReservation>; probe?: () => OwnerLife; repo_root?: string } = {},
): Promise<ReserveOutcome> {
  const now = clock.now();
  const ids = more.ids ?? [];
  const repo_root = more.repo_root ?? REPO;
  return tryReserve(store, {
    ...{ repo_root, thread, now, probe: more.probe ?? ownerProbe(now) },
    new_id: () => ids.shift() ?? newId('agent'),
    build: (id) => draft(id, { ...living(), thread, repo_root, started_at: now, ...more.draft }),
  });
}
