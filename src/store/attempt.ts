import type { Store } from './store.ts';

/**
 * Counts an attempt at the next turn that came to nothing before the turn was claimed, and says when the next one may be
 * made. False when somebody was first: the session is elsewhere, or has gone on to another turn.
 */
export async function countAttempt(
  store: Store,
  input: { session_id: string; turn: number; attempt: number; next_turn_at: number; now: number },
): Promise<boolean> {
  return store.write(
    (tx) =>
      tx.run(
        `UPDATE sessions SET attempt = :attempt + 1, next_turn_at = :next_turn_at, updated_at = :now
         WHERE id = :session_id AND turn = :turn AND attempt = :attempt AND state IN ('queued','idle')`,
        input,
      ) === 1,
  );
}
