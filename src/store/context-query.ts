import type { ContextQueryRow } from '../model/reservation.ts';
import type { Store } from './store.ts';

/** Notes what an agent looked up; does nothing, and is no failure, unless its reservation is active (H-57, H-58). */
export async function logContextQuery(
  store: Store,
  input: { session_id: string; path: string; scope: string | null; now: number },
): Promise<boolean> {
  const { session_id, path, scope, now } = input;
  return store.write(
    (tx) =>
      tx.run(
        `INSERT INTO context_queries (session_id, seq, path, scope, queried_at)
         SELECT r.session_id, 1 + coalesce((SELECT max(seq) FROM context_queries WHERE session_id = r.session_id), 0),
           :path, :scope, :now
         FROM reservations AS r WHERE r.session_id = :session_id AND r.status = 'active'`,
        { session_id, path, scope, now },
      ) === 1,
  );
}

/** In the order they were asked; they stay when the reservation has ended (H-59). */
export async function listContextQueries(store: Store, session_id: string): Promise<ContextQueryRow[]> {
  return store.read((tx) =>
    tx.all<ContextQueryRow>('SELECT * FROM context_queries WHERE session_id = :session_id ORDER BY seq', {
      session_id,
    }),
  );
}
