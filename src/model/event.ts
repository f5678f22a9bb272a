import type { HarnessEvent } from './harness.ts';

/** One event of a turn's stream with the place its line has in the raw file. */
export interface LineEvents {
  /** Byte offset of the line's first byte in `stdout.jsonl`. */
  offset: number;
  /** Byte offset after its newline. */
  end: number;
  /** null: the line was malformed or too long; it is counted and stays on disk. */
  events: HarnessEvent[] | null;
}

/** One row of `events`. `type` is a harness event type or one of drover's own (`state`, `turn_start`, `warning`, …). */
export interface EventRow {
  seq: number;
  session_id: string;
  turn: number | null;
  type: string;
  level: 'debug' | 'info' | 'warning' | 'error';
  /** Offset of the raw line; null for drover's own events. */
  line_offset: number | null;
  data_json: string;
  at: number;
}
