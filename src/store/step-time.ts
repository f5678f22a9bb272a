import type { SessionRow } from '../model/session.ts';
import type { Tx } from './store.ts';

/**
 * Milliseconds that are left to the session of a step: its timeout bounds all turns of a try together, their gates
 * included; what it waits in between does not count. Null: it is no step's, or may take as long as it wants.
 */
export function timeLeft(tx: Tx, { id, timeout_ms }: Pick<SessionRow, 'id' | 'timeout_ms'>): number | null {
  if (timeout_ms === null) return null;
  const row = tx.get<{ used: number }>(
    `SELECT (SELECT coalesce(sum(max(0, u.ended_at - u.started_at)), 0) FROM turns AS u
       WHERE u.session_id = :id AND u.ended_at IS NOT NULL) AS used
     FROM step_sessions WHERE session_id = :id`,
    { id },
  );
  return row === null ? null : Math.max(0, timeout_ms - row.used);
}
