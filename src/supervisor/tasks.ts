import type { Clock } from '../model/clock.ts';
import { passing } from './failure.ts';

/** A typed failure is tried again after this long. */
const RETRY_MS = 500;
/** How long the last ones may take when everything ends. */
const PATIENCE_MS = 3_000;

interface TaskOptions {
  clock: Clock;
  /** Aborted: nothing is begun or tried again any more. */
  stop: AbortSignal;
  log: (line: string) => void;
  /** A bug ends the process, loudly (crash-only). */
  on_bug: (error: unknown) => void;
}

/** What the loop does beside looking. */
export class Tasks {
  readonly #options: TaskOptions;
  readonly #open = new Set<Promise<void>>();

  constructor(options: TaskOptions) {
    this.#options = options;
  }

  /** Does `work` in the background. Typed failures are tried again until they pass. */
  begin(key: string, work: () => Promise<void>): void {
    const task = this.#retry(key, work).finally(() => this.#open.delete(task));
    this.#open.add(task);
  }

  /** Waits for those that are under way, but not for ever. */
  async settled(): Promise<void> {
    const patience = new AbortController();
    await Promise.race([Promise.allSettled([...this.#open]), this.#options.clock.sleep(PATIENCE_MS, patience.signal)]);
    patience.abort();
  }

  async #retry(key: string, work: () => Promise<void>): Promise<void> {
    const { clock, stop, log, on_bug } = this.#options;
    while (!stop.aborted) {
      try {
        return await work();
      } catch (error) {
        const failure = passing(error);
        if (failure === null) return on_bug(error);
        log(`${key}: ${failure.code}: ${failure.message}`);
        await clock.sleep(RETRY_MS, stop);
      }
    }
  }
}
