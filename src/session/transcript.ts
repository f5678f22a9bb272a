import { shortEvent } from '../harness/event-text.ts';
import { AppError } from '../model/error.ts';
import type { EventRow } from '../model/event.ts';
import type { Harness, HarnessEvent } from '../model/harness.ts';
import type { SessionRow } from '../model/session.ts';
import { completed, cutOf, withoutRest } from '../store/event-data.ts';
import type { Store } from '../store/store.ts';
import { listTurns } from '../store/turn-list.ts';
import { fileSize } from '../sys/directory.ts';
import { type Frame, LineReader } from '../sys/frames.ts';
import { openTail, readFrom, type Tail } from '../sys/tail.ts';
import { turnFiles } from '../sys/turn-files.ts';

/** Most lines are shorter. */
const CHUNK_BYTES = 16 * 1024;

interface Parser {
  harness: Harness;
  max_line_bytes: number;
}

/**
 * Makes events whole again: of a long text the store has only the head, the rest is in the line on disk, which is read
 * and parsed as it was when it came. Where that is not possible any more (`drover clean` took the files, the adapter has
 * left the config, somebody changed the file), the head stays with `…` behind it.
 */
export class Transcript {
  readonly #store: Store;
  readonly #session: SessionRow;
  readonly #env: Record<string, string | undefined>;
  readonly #dirs = new Map<number, string>();
  #parser: Parser | 'none' | null = null;

  constructor(store: Store, session: SessionRow, env: Record<string, string | undefined>) {
    this.#store = store;
    this.#session = session;
    this.#env = env;
  }

  /** The same rows in the same order. Reads nothing when none of them is cut. */
  async whole(rows: readonly EventRow[]): Promise<EventRow[]> {
    if (rows.every((row) => cutOf(row) === null)) return [...rows];
    const parser = await this.#known();
    await this.#locate(rows);
    const lines = new Lines(this.#dirs, parser);
    try {
      return rows.map((row) => {
        const nth = cutOf(row);
        return nth === null ? row : (completed(row, lines.eventsOf(row)?.[nth]) ?? withoutRest(row));
      });
    } finally {
      lines.close();
    }
  }

  async #known(): Promise<Parser | null> {
    this.#parser ??= await this.#load();
    return this.#parser === 'none' ? null : this.#parser;
  }

  async #load(): Promise<Parser | 'none'> {
    // Only now: most calls find nothing cut, and the adapters are a good part of a start.
    const [{ findHarness }, { loadConfig }] = await Promise.all([
      import('../harness/registry.ts'),
      import('./config.ts'),
    ]);
    try {
      const config = await loadConfig(this.#env, this.#session.repo_root);
      const harness = findHarness(this.#session.harness, config.harness_runners);
      return { harness, max_line_bytes: config.turn.max_line_bytes };
    } catch (error) {
      if (error instanceof AppError) return 'none';
      throw error;
    }
  }

  async #locate(rows: readonly EventRow[]): Promise<void> {
    if (rows.every(({ turn }) => turn === null || this.#dirs.has(turn))) return;
    for (const { turn, dir } of await listTurns(this.#store, this.#session.id)) this.#dirs.set(turn, dir);
  }
}

/** The lines of some turns, by their place. */
class Lines {
  readonly #dirs: ReadonlyMap<number, string>;
  readonly #parser: Parser | null;
  readonly #tails = new Map<number, Tail | null>();
  /** Several events of one line follow one another. */
  #last: { turn: number; offset: number; events: HarnessEvent[] | null } | null = null;

  constructor(dirs: ReadonlyMap<number, string>, parser: Parser | null) {
    this.#dirs = dirs;
    this.#parser = parser;
  }

  /** What the adapter makes of the line of a row; null when there is no such line any more. */
  eventsOf({ turn, line_offset: offset }: EventRow): HarnessEvent[] | null {
    if (turn === null || offset === null || this.#parser === null) return null;
    if (this.#last?.turn !== turn || this.#last.offset !== offset) {
      const line = this.#lineAt(turn, offset, this.#parser.max_line_bytes);
      this.#last = { turn, offset, events: line === null ? null : this.#parse(line) };
    }
    return this.#last.events;
  }

  #parse(line: string): HarnessEvent[] | null {
    return this.#parser?.harness.parse(line)?.map(shortEvent) ?? null;
  }

  #lineAt(turn: number, offset: number, limit: number): string | null {
    try {
      const tail = this.#tailOf(turn, offset);
      if (tail === null) return null;
      const reader = new LineReader(limit, offset);
      for (;;) {
        const chunk = readFrom(tail.fd, reader.position, CHUNK_BYTES);
        const frames: Frame[] = [];
        reader.push(chunk, (each) => frames.push(each));
        const frame = frames[0] ?? (chunk.length < CHUNK_BYTES ? reader.flush() : undefined);
        if (frame !== undefined) return frame === null || frame.oversize ? null : frame.text;
      }
    } catch (error) {
      if (error instanceof AppError) return null;
      throw error;
    }
  }

  #tailOf(turn: number, offset: number): Tail | null {
    let tail = this.#tails.get(turn);
    if (tail === undefined) {
      const path = turnFiles(this.#dirs.get(turn) ?? '').stdout;
      // A pipe in its place has no size and is not opened: that would wait for ever.
      tail = fileSize(path) > offset ? openTail(path) : null;
      this.#tails.set(turn, tail);
    }
    return tail;
  }

  close(): void {
    for (const tail of this.#tails.values()) tail?.close();
  }
}
