import type { TurnRow } from '../model/turn.ts';
import type { Store } from './store.ts';

/** All turns of a session, oldest first. */
export async function listTurns(store: Store, session_id: string): Promise<TurnRow[]> {
  return store.read((tx) =>
    tx.all<TurnRow>('SELECT * FROM turns WHERE session_id = :session_id ORDER BY turn', { session_id }),
  );
}
