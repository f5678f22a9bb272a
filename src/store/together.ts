import { AppError } from '../model/error.ts';

/** A transaction with parts that can be taken back one by one. */
interface Parted {
  part<T>(work: () => T): T;
  /** False once the database has given up the whole of it, as it may on a full disk. */
  readonly isOpen: boolean;
}

interface Job<Tx> {
  work: (tx: Tx) => unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

type End = { value: unknown } | { error: unknown };

/**
 * Commits many writes at once, for the price of one: a commit waits for the disk. Each is whole or not there at all, and
 * none resolves before all of them are on disk; that some come together is nothing that anybody can see.
 */
export class Together<Tx extends Parted> {
  readonly #alone: <T>(work: (tx: Tx) => T) => Promise<T>;
  readonly #gather: () => Promise<void>;
  readonly #typed: (error: unknown) => unknown;
  #waiting: Job<Tx>[] = [];

  /** `alone` is one transaction; `gather` says how long others are waited for; `typed` is what a caller is told of an error. */
  constructor(
    alone: <T>(work: (tx: Tx) => T) => Promise<T>,
    gather: () => Promise<void>,
    typed: (error: unknown) => unknown,
  ) {
    this.#alone = alone;
    this.#gather = gather;
    this.#typed = typed;
  }

  write<T>(work: (tx: Tx) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as Job<Tx>['resolve'], reject });
      if (this.#waiting.length === 1) void this.#gather().then(() => this.#commit());
    });
  }

  async #commit(): Promise<void> {
    const jobs = this.#waiting;
    this.#waiting = [];
    const ends = jobs.length > 1 ? await this.#all(jobs) : null;
    if (ends === null) return this.#oneByOne(jobs);
    for (const [i, { resolve, reject }] of jobs.entries()) {
      const end = ends[i] ?? { error: new Error('a write without an end') };
      if ('error' in end) reject(this.#typed(end.error));
      else resolve(end.value);
    }
  }

  /** Null: nothing was written, and whoever is to blame for it shall be alone with it. */
  async #all(jobs: readonly Job<Tx>[]): Promise<End[] | null> {
    try {
      return await this.#alone((tx) => {
        const ends: End[] = [];
        for (const { work } of jobs) {
          try {
            ends.push({ value: tx.part(() => work(tx)) });
          } catch (error) {
            if (!tx.isOpen) throw error;
            ends.push({ error });
          }
        }
        return ends;
      });
    } catch (error) {
      // Each would wait as long again.
      if (error instanceof AppError && error.code === 'store_busy') return jobs.map(() => ({ error }));
      return null;
    }
  }

  async #oneByOne(jobs: readonly Job<Tx>[]): Promise<void> {
    for (const { work, resolve, reject } of jobs) {
      try {
        resolve(await this.#alone(work));
      } catch (error) {
        reject(error);
      }
    }
  }
}
