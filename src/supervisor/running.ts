import type { LineEvents } from '../model/event.ts';
import type { Harness } from '../model/harness.ts';
import type { SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import { findPrice, type Price } from '../model/usage.ts';
import type { IngestInput } from '../store/ingest.ts';
import { type Frame, LineReader } from '../sys/frames.ts';
import type { ProcessId } from '../sys/identity.ts';
import { NEXT_BYTES, openTail, readNext, type Tail, type Watch } from '../sys/tail.ts';
import { turnFiles } from '../sys/turn-files.ts';

/** Chunks read for one line before others get their turn. */
const MAX_CHUNKS = 32;

/** Prices by model, and the names by which a turn's model may stand there. */
export interface Prices {
  table: Record<string, Price>;
  models: readonly (string | null)[];
}

/** What this process knows of one turn in flight. Everything in it can be rebuilt from the row and the turn directory. */
export class RunningTurn {
  readonly session: SessionRow;
  row: TurnRow;
  /** null: the adapter has left the config; lines are kept as unknown. */
  readonly harness: Harness | null;
  identity: ProcessId | null;
  /** We started it, so the kernel tells us of its end. */
  is_child = false;
  /** The stream may have grown since it was read. */
  dirty = true;
  /** Somebody said that its files have grown. Of two changes within a millisecond one may go unsaid: look again later. */
  hasEcho = false;
  phase: 'running' | 'ending' = 'running';
  gone = false;
  #watch: Watch | null = null;
  /** Kept open: opening and closing is half the price of a look. */
  #tail: Tail | null = null;
  #reader: LineReader;
  readonly #max_line_bytes: number;
  readonly #path: string;
  /** Null: no model has a price, so nobody asks for names. */
  readonly #prices: Prices | null;
  #price: Price | null;

  constructor(input: {
    session: SessionRow;
    row: TurnRow;
    harness: Harness | null;
    identity: ProcessId | null;
    max_line_bytes: number;
    prices?: Prices | null;
  }) {
    this.session = input.session;
    this.row = input.row;
    this.harness = input.harness;
    this.identity = input.identity;
    this.#max_line_bytes = input.max_line_bytes;
    this.#reader = new LineReader(input.max_line_bytes, input.row.stdout_offset);
    this.#path = turnFiles(input.row.dir).stdout;
    this.#prices = input.prices ?? null;
    this.#price = this.#prices === null ? null : findPrice(this.#prices.table, this.#prices.models);
  }

  get key(): string {
    return this.row.session_id;
  }

  watch(watch: Watch): void {
    this.#watch = watch;
  }

  /** What was read but not written is read again. */
  rewind(): void {
    this.#reader = new LineReader(this.#max_line_bytes, this.row.stdout_offset);
    this.dirty = true;
  }

  close(): void {
    this.#watch?.close();
    this.#watch = null;
    this.#tail?.close();
    this.#tail = null;
  }

  /**
   * The next batch of the stream, or null when there is no complete line. Stays `dirty` while there may be more.
   * `final`: nothing will be written any more, so an unfinished last line counts (C-03).
   */
  read(now: number, final: boolean): IngestInput | null {
    const from_offset = this.row.stdout_offset;
    const lines: LineEvents[] = [];
    let frames = 0;
    let oversize = 0;
    const take = (frame: Frame) => {
      frames += 1;
      if (frame.oversize) oversize += 1;
      else if (frame.text.trim() !== '')
        lines.push({ offset: frame.offset, end: frame.end, events: this.#parse(frame.text) });
    };
    let isAtEnd = false;
    // A line longer than a chunk yields no frame: read on until there is one, or the end.
    for (let i = 0; frames === 0 && !isAtEnd && i < MAX_CHUNKS; i += 1) {
      this.#tail ??= openTail(this.#path);
      const chunk = readNext(this.#tail.fd, this.#reader.position);
      isAtEnd = chunk.length < NEXT_BYTES;
      this.#reader.push(chunk, take);
    }
    this.dirty = !isAtEnd;
    if (final && isAtEnd) {
      const last = this.#reader.flush();
      if (last !== null) take(last);
    }
    if (frames === 0) return null;
    const { session_id, turn } = this.row;
    if (this.#prices !== null) this.#learnModel(this.#prices, lines);
    const price = this.#price;
    return { session_id, turn, from_offset, to_offset: this.#reader.committed, lines, oversize, now, price };
  }

  /** The name that the harness gives its model says more than the one it was asked for. */
  #learnModel({ table, models }: Prices, lines: readonly LineEvents[]): void {
    for (const { events } of lines)
      for (const event of events ?? [])
        if (event.type === 'session' && event.model !== null) this.#price = findPrice(table, [event.model, ...models]);
  }

  #parse(text: string): LineEvents['events'] {
    return this.harness === null ? [{ type: 'custom', name: 'unparsed' }] : this.harness.parse(text);
  }
}
