import type { SessionRow } from '../model/session.ts';
import { hasInput } from './mail.ts';
import type { Store, Tx } from './store.ts';

/**
 * What an idle session waits for: `question`, an answer of somebody's; `resting`, nothing but new mail; `busy`, itself
 * (a back-off, mail that is about to be read) or its children.
 */
export type Rest = 'busy' | 'question' | 'resting';

export async function restOf(store: Store, row: Pick<SessionRow, 'id' | 'next_turn_at'>): Promise<Rest> {
  return store.read((tx) => {
    if (row.next_turn_at !== null || hasInput(tx, row.id) || hasLiveChildren(tx, row.id)) return 'busy';
    return hasOpenQuestion(tx, row.id) ? 'question' : 'resting';
  });
}

export function hasLiveChildren(tx: Tx, session_id: string): boolean {
  return (
    tx.get('SELECT 1 FROM sessions WHERE parent_id = :session_id AND ended_at IS NULL LIMIT 1', { session_id }) !== null
  );
}

/** It asked, and nobody has answered in that thread since. */
export function hasOpenQuestion(tx: Tx, session_id: string): boolean {
  return (
    tx.get(
      `SELECT 1 FROM mail q WHERE q.from_id = :session_id AND q.type IN ('question', 'decision_gate')
         AND NOT EXISTS (SELECT 1 FROM mail a WHERE a.thread_id = q.thread_id AND a.to_id = :session_id AND a.seq > q.seq) LIMIT 1`,
      { session_id },
    ) !== null
  );
}
