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
  appendEvents(tx, [draft]);
}

/** Many at once, in this order. */
export function appendEvents(tx: Tx, drafts: readonly EventDraft[]): void {
  tx.insert(
    'INSERT INTO events (session_id, turn, type, level, line_offset, data_json, at)',
    7,
    drafts.map((draft) => [
      draft.session_id,
      draft.turn,
      draft.type,
      draft.level ?? 'info',
      draft.line_offset ?? null,
      JSON.stringify(draft.data),
      draft.at,
    ]),
  );
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
