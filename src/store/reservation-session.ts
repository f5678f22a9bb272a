import { newId } from '../model/id.ts';
import type { ReservationRow } from '../model/reservation.ts';
import { threadTaken } from '../model/reservation-advice.ts';
import type { SessionRow } from '../model/session.ts';
import { endPathReservations } from './path-reservation.ts';
import { NEWEST_FIRST, type OwnerProbe, reserveIn } from './reservation.ts';
import type { Tx } from './store.ts';

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
