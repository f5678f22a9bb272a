import type { EventRow } from '../model/event.ts';
import type { Tx } from './store.ts';

/** One event within a batch: what its row of the view `events` has of its own. `data` is anything that JSON can say. */
export type BatchedEvent = readonly [type: string, level: EventRow['level'], line_offset: number | null, data: unknown];

/** Events of one session that were written at one instant, in order. `seq` is that of the last; they are numbered without gaps. */
export interface EventBatchRow {
  seq: number;
  session_id: string;
  turn: number | null;
  at: number;
  count: number;
  /** `BatchedEvent[]`. */
  events_json: string;
}

/** So that nobody has to read thousands of events to see the newest. */
const MAX_EVENTS = 1024;

/** Events that are made JSON at once: what grows beyond 8 KiB costs twice as much. */
const PIECE = 16;

/** Batches that are read at once. */
const PAGE = 32;

/** The first number not taken is that after the newest: events are never removed. */
const INSERT = `INSERT INTO event_batches (seq, session_id, turn, at, count, events_json)
  SELECT coalesce(max(seq), 0) + :count, :session_id, :turn, :at, :count, :events_json FROM event_batches`;

/** Appends events of one instant, in this order. */
export function insertEvents(
  tx: Tx,
  of: Pick<EventBatchRow, 'session_id' | 'turn' | 'at'>,
  events: readonly BatchedEvent[],
): void {
  const { session_id, turn, at } = of;
  for (let from = 0; from < events.length; from += MAX_EVENTS) {
    const to = Math.min(from + MAX_EVENTS, events.length);
    tx.run(INSERT, { session_id, turn, at, count: to - from, events_json: jsonOf(events, from, to) });
  }
}

/** The events from `from` to `to` as one JSON array. */
function jsonOf(events: readonly BatchedEvent[], from: number, to: number): string {
  let json = '';
  for (let at = from; at < to; at += PIECE) {
    const piece = JSON.stringify(events.slice(at, Math.min(at + PIECE, to)));
    json += `${at === from ? '[' : ','}${piece.slice(1, -1)}`;
  }
  return `${json}]`;
}

/** Events of one session after event `after_seq`, oldest first; of one turn when `turn` is given. */
export function eventsAfter(
  tx: Tx,
  query: { session_id: string; turn: number | null; after_seq: number; limit: number },
): EventRow[] {
  const { session_id, turn, after_seq, limit } = query;
  const rows: EventRow[] = [];
  for (let from = after_seq; rows.length < limit; ) {
    const batches = tx.all<EventBatchRow>(
      `SELECT * FROM event_batches WHERE session_id = :session_id AND seq > :from ${turn === null ? '' : 'AND turn = :turn'}
       ORDER BY seq LIMIT ${PAGE}`,
      { session_id, from, ...(turn === null ? {} : { turn }) },
    );
    for (const row of batches.flatMap(rowsOf)) if (row.seq > after_seq) rows.push(row);
    if (batches.length < PAGE) break;
    from = batches.at(-1)?.seq ?? from;
  }
  return rows.slice(0, limit);
}

/** The newest events of one session, newest first. */
export function newestEvents(tx: Tx, session_id: string, limit: number): EventRow[] {
  const rows: EventRow[] = [];
  for (let before = Number.MAX_SAFE_INTEGER; rows.length < limit; ) {
    const batches = tx.all<EventBatchRow>(
      `SELECT * FROM event_batches WHERE session_id = :session_id AND seq < :before ORDER BY seq DESC LIMIT ${PAGE}`,
      { session_id, before },
    );
    for (const batch of batches) rows.push(...rowsOf(batch).reverse());
    if (batches.length < PAGE) break;
    before = batches.at(-1)?.seq ?? before;
  }
  return rows.slice(0, limit);
}

function rowsOf({ seq, session_id, turn, at, count, events_json }: EventBatchRow): EventRow[] {
  const first = seq - count + 1;
  return (JSON.parse(events_json) as BatchedEvent[]).map(([type, level, line_offset, data], i) => {
    return { seq: first + i, session_id, turn, type, level, line_offset, data_json: JSON.stringify(data), at };
  });
}
