import type { EventRow } from '../model/event.ts';
import { eventsAfter, insertEvents, newestEvents } from './event-batch.ts';
import type { Store, Tx } from './store.ts';

export interface EventDraft {
  session_id: string;
  turn: number | null;
  type: string;
  level?: EventRow['level'];
  line_offset?: number | null;
  data: unknown;
  at: number;
}

export function appendEvent(tx: Tx, draft: EventDraft): void {
  const { type, level = 'info', line_offset = null, data } = draft;
  insertEvents(tx, draft, [[type, level, line_offset, data]]);
}

/** Events of one session after `after_seq`, oldest first. */
export async function listEvents(
  store: Store,
  query: { session_id: string; turn?: number | null; after_seq?: number; limit?: number },
): Promise<EventRow[]> {
  const { session_id, turn = null, after_seq = 0, limit = 1000 } = query;
  return store.read((tx) => eventsAfter(tx, { session_id, turn, after_seq, limit }));
}

/** The newest events of one session, oldest first. */
export async function lastEvents(store: Store, session_id: string, limit: number): Promise<EventRow[]> {
  return store.read((tx) => newestEvents(tx, session_id, limit).reverse());
}

export interface StateLogRow {
  seq: number;
  session_id: string;
  from_state: string | null;
  to_state: string;
  event: string;
  actor: string;
  reason: string | null;
  turn: number;
  at: number;
}

export async function listStateLog(store: Store, session_id: string): Promise<StateLogRow[]> {
  return store.read((tx) =>
    tx.all<StateLogRow>('SELECT * FROM state_log WHERE session_id = :session_id ORDER BY seq', { session_id }),
  );
}
