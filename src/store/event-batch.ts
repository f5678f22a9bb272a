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
const MAX_EVENTS = 256;

/** Events that are made JSON at once: what grows beyond 8 KiB costs twice as much. */
const PIECE = 16;

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
  const { limit, ...of } = query;
  const where = `session_id = :session_id AND seq > :after_seq ${of.turn === null ? '' : 'AND turn = :turn'}`;
  const params = { session_id: of.session_id, after_seq: of.after_seq, ...(of.turn === null ? {} : { turn: of.turn }) };
  const sizes = tx.all<Size>(`SELECT seq, count FROM event_batches WHERE ${where} ORDER BY seq LIMIT :limit`, {
    ...params,
    limit,
  });
  const last = lastOf(sizes, limit, of.after_seq);
  if (last === null) return [];
  const batches = tx.all<EventBatchRow>(`SELECT * FROM event_batches WHERE ${where} AND seq <= :last ORDER BY seq`, {
    ...params,
    last,
  });
  return batches.flatMap((batch) => rowsOf(batch, of.after_seq)).slice(0, limit);
}

/** The newest events of one session, newest first. */
export function newestEvents(tx: Tx, session_id: string, limit: number): EventRow[] {
  const sizes = tx.all<Size>(
    'SELECT seq, count FROM event_batches WHERE session_id = :session_id ORDER BY seq DESC LIMIT :limit',
    { session_id, limit },
  );
  const last = lastOf(sizes, limit, 0);
  if (last === null) return [];
  const batches = tx.all<EventBatchRow>(
    'SELECT * FROM event_batches WHERE session_id = :session_id AND seq >= :last ORDER BY seq DESC',
    { session_id, last },
  );
  return batches.flatMap((batch) => rowsOf(batch, 0).reverse()).slice(0, limit);
}

/** What is looked at to know how far to read: the events lie on pages of their own, which this leaves alone. */
type Size = Pick<EventBatchRow, 'seq' | 'count'>;

/** The batch with which there are `limit` events that come after `after_seq`, or the last one; null: there is none. */
function lastOf(sizes: readonly Size[], limit: number, after_seq: number): number | null {
  let events = 0;
  for (const { seq, count } of sizes) {
    events += Math.min(count, seq - after_seq);
    if (events >= limit) return seq;
  }
  return sizes.at(-1)?.seq ?? null;
}

/** The events of a batch that come after event `after_seq`. */
function rowsOf({ seq, session_id, turn, at, count, events_json }: EventBatchRow, after_seq: number): EventRow[] {
  const events = JSON.parse(events_json) as BatchedEvent[];
  const left = Math.min(count, seq - after_seq);
  return events.slice(count - left).map(([type, level, line_offset, data], i) => {
    return { seq: seq - left + 1 + i, session_id, turn, type, level, line_offset, data_json: JSON.stringify(data), at };
  });
}
