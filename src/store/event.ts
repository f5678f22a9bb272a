import type { EventRow } from '../model/event.ts';
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
  const { session_id, turn, at, type, level = 'info', line_offset = null } = draft;
  appendStream(tx, { session_id, turn, at }, [type, level, line_offset, JSON.stringify(draft.data)]);
}

/**
 * Many events of one instant, in this order. `values` is flat: type, level, line offset and JSON of each, one event after
 * the other.
 */
export function appendStream(
  tx: Tx,
  of: { session_id: string; turn: number | null; at: number },
  values: readonly (string | number | null)[],
): void {
  const into = 'INSERT INTO events (session_id, turn, at, type, level, line_offset, data_json)';
  tx.insert(into, [of.session_id, of.turn, of.at], 4, values);
}

/** Events of one session after `after_seq`, oldest first. */
export async function listEvents(
  store: Store,
  query: { session_id: string; turn?: number | null; after_seq?: number; limit?: number },
): Promise<EventRow[]> {
  const byTurn = query.turn == null ? '' : 'AND turn = :turn';
  return store.read((tx) =>
    tx.all<EventRow>(
      `SELECT * FROM events WHERE session_id = :session_id AND seq > :after ${byTurn} ORDER BY seq LIMIT :limit`,
      {
        session_id: query.session_id,
        after: query.after_seq ?? 0,
        limit: query.limit ?? 1000,
        ...(query.turn == null ? {} : { turn: query.turn }),
      },
    ),
  );
}

/** The newest events of one session, oldest first. */
export async function lastEvents(store: Store, session_id: string, limit: number): Promise<EventRow[]> {
  const rows = await store.read((tx) =>
    tx.all<EventRow>('SELECT * FROM events WHERE session_id = :session_id ORDER BY seq DESC LIMIT :limit', {
      session_id,
      limit,
    }),
  );
  return rows.reverse();
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
