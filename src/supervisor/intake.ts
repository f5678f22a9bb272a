import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { type IngestInput, ingest } from '../store/ingest.ts';
import type { Store } from '../store/store.ts';
import { realNames } from '../sys/real-name.ts';
import { passing } from './failure.ts';
import type { RunningTurn } from './running.ts';

/** As much of all streams together is held in memory; then it is written and others get their turn. */
const BATCH_BYTES = 4 * 1024 * 1024;

/** A stream that was removed, cut, closed to us, or replaced by what is no file: what was not read by then is lost. */
const GONE = ['file_not_found', 'file_shrank', 'not_a_file', 'permission_denied'];

interface Found {
  turn: RunningTurn;
  batch: IngestInput;
}

interface Asked {
  final: boolean;
  calls: { turns: readonly RunningTurn[]; resolve: () => void; reject: (error: unknown) => void }[];
}

/** The way of the streams into the store. */
export class Intake {
  readonly #store: Store;
  readonly #clock: Clock;
  /** Calls that are not served yet. */
  readonly #asked: Asked[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /**
   * Reads on in every stream and writes what it found, many turns in one transaction. Calls wait for one another: a
   * batch speaks of the offset that the one before it has written. Turns that have more to say stay `dirty`.
   * `final`: see `RunningTurn.read`. Throws what `ingest` throws; what was not written is read again the next time.
   */
  take(turns: readonly RunningTurn[], final: boolean): Promise<void> {
    // Only the newest: the last words of a turn come after those before them.
    const newest = this.#asked.at(-1);
    const asked = newest?.final === final ? newest : this.#ask(final);
    const mine = Promise.withResolvers<void>();
    asked.calls.push({ turns, ...mine });
    return mine.promise;
  }

  /** Everything that an ended turn has said. The pauses let others have their turn while a long rest is read. */
  async takeRest(turn: RunningTurn): Promise<void> {
    await this.take([turn], true);
    for (; turn.dirty; await this.take([turn], true)) await this.#clock.sleep(1);
  }

  /** Calls that come while others are served are served together. */
  #ask(final: boolean): Asked {
    const asked: Asked = { final, calls: [] };
    this.#asked.push(asked);
    this.#last = this.#last.then(() => {
      this.#asked.splice(this.#asked.indexOf(asked), 1);
      return this.#serve(asked);
    });
    return asked;
  }

  /** Whoever asked is told of a failure; the next one in the queue starts anew. */
  async #serve({ calls, final }: Asked): Promise<void> {
    const turns = new Set(calls.flatMap((call) => call.turns));
    try {
      await this.#takeAll([...turns], final);
      for (const { resolve } of calls) resolve();
    } catch (error) {
      const [only, more] = calls;
      if (more === undefined) return only?.reject(error);
      // The trouble of one is not that of the others.
      for (const turn of turns) turn.rewind();
      for (const { turns, resolve, reject } of calls) await this.#takeAll(turns, final).then(resolve, reject);
    }
  }

  async #takeAll(turns: readonly RunningTurn[], final: boolean): Promise<void> {
    let found: Found[] = [];
    let bytes = 0;
    for (const turn of turns) {
      const batch = this.#read(turn, final);
      if (batch === null) continue;
      found.push({ turn, batch });
      bytes += batch.to_offset - batch.from_offset;
      if (bytes < BATCH_BYTES) continue;
      await this.#write(found);
      await this.#clock.sleep(1);
      found = [];
      bytes = 0;
    }
    if (found.length > 0) await this.#write(found);
  }

  /**
   * A stream that cannot be read is the trouble of one turn and must not keep the others waiting. What is gone for good
   * counts as read to its end; anything else is tried again at the next look, and at the end until it works.
   */
  #read(turn: RunningTurn, final: boolean): IngestInput | null {
    try {
      return turn.read(this.#clock.now(), final);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (final && !GONE.includes(error.code)) throw error;
      turn.dirty = false;
      return null;
    }
  }

  /**
   * Writes what was read of several streams at once. A bug that one of them brings out must not end the supervisor, nor
   * meet the next one again: then each is written by itself, and the one that cannot be is counted as malformed (its raw
   * lines stay on disk).
   */
  async #write(found: readonly Found[]): Promise<void> {
    try {
      await this.#commit(found);
    } catch (error) {
      if (passing(error) !== null) throw error;
      for (const { turn, batch } of found) {
        const unread = { ...batch, lines: [], oversize: batch.oversize + batch.lines.length };
        await this.#commit([{ turn, batch }]).catch((reason: unknown) => {
          // Only a bug is blamed on the lines; a full disk is waited out with nothing lost.
          if (passing(reason) !== null) throw reason;
          return this.#commit([{ turn, batch: unread }]);
        });
        turn.rewind();
      }
    }
  }

  async #commit(found: readonly Found[]): Promise<void> {
    try {
      const batches = found.map(({ batch }) => batch);
      const rows = await ingest(this.#store, batches, realNames());
      for (const [i, { turn }] of found.entries()) {
        const row = rows[i];
        if (row == null) continue;
        turn.row = row;
      }
    } catch (error) {
      for (const { turn } of found) turn.rewind();
      throw error;
    }
  }
}
