import type { Database, SQLQueryBindings, Statement } from 'bun:sqlite';
import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import type { Gate } from '../model/gate.ts';
import { Together } from './together.ts';

export type Params = Record<string, SQLQueryBindings>;

/** Rows per statement of `Tx.insert`; more would save little. */
const INSERT_ROWS = 32;

/** What runs inside one transaction. Statements are prepared once per connection. */
export class Tx {
  readonly #db: Database;
  readonly #statements = new Map<string, Statement>();

  constructor(db: Database) {
    this.#db = db;
  }

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  get<Row>(sql: string, params: Params = {}): Row | null {
    return this.#statement(sql).get(params) as Row | null;
  }

  all<Row>(sql: string, params: Params = {}): Row[] {
    return this.#statement(sql).all(params) as Row[];
  }

  /** Number of rows changed. */
  run(sql: string, params: Params = {}): number {
    return this.#statement(sql).run(params).changes;
  }

  /**
   * Inserts rows, many per statement: half the price of `run` for each. `into` is the statement up to the word VALUES;
   * its columns are those of `shared`, the same in every row, and then `columns` more, whose values `own` holds row after row.
   */
  insert(into: string, shared: readonly SQLQueryBindings[], columns: number, own: readonly SQLQueryBindings[]): void {
    const step = INSERT_ROWS * columns;
    let done = 0;
    for (; done + step <= own.length; done += step) {
      this.#inserter(into, shared.length, columns, INSERT_ROWS).run(...shared, ...own.slice(done, done + step));
    }
    for (; done < own.length; done += columns) {
      this.#inserter(into, shared.length, columns, 1).run(...shared, ...own.slice(done, done + columns));
    }
  }

  #inserter(into: string, shared: number, columns: number, rows: number): Statement {
    const key = `${into} ${rows}`;
    let statement = this.#statements.get(key);
    if (statement === undefined) {
      const list = (from: number, length: number) => Array.from({ length }, (_, i) => `?${from + i}`);
      const row = (i: number) => `(${[...list(1, shared), ...list(shared + 1 + i * columns, columns)].join(',')})`;
      statement = this.#db.prepare(`${into} VALUES ${Array.from({ length: rows }, (_, i) => row(i)).join(',')}`);
      this.#statements.set(key, statement);
    }
    return statement;
  }

  /** False: SQLite has given up the whole transaction, as it may on a full disk. */
  get isOpen(): boolean {
    return this.#db.inTransaction;
  }

  /** A part of the transaction: what it throws takes back the part alone, while there is a transaction still. */
  part<T>(work: () => T): T {
    this.#db.run('SAVEPOINT part');
    try {
      const value = work();
      if (!this.isOpen) throw new Error('the transaction is gone');
      return value;
    } catch (error) {
      if (this.isOpen) this.#db.run('ROLLBACK TO part');
      throw error;
    } finally {
      if (this.isOpen) this.#db.run('RELEASE part');
    }
  }

  finalize(): void {
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
  }
}

/** Writes that follow one another this closely are a run. */
const RUN_MS = 2;

export interface StoreOptions {
  clock: Clock;
  gate: Gate;
  /** How long a write waits for its turn before it gives up with `store_busy`. Default 5,000. */
  wait_ms?: number;
  /** `full` for everything that is acknowledged to anybody, `normal` for ingest (ARCHITECTURE §2 Durability). */
  durability?: 'full' | 'normal';
  /** Writes that are asked for before this resolves are committed together; without it each is by itself. */
  gather?: () => Promise<void>;
}

/** One connection. Every write is one immediate transaction behind the gate; nothing awaits inside it. */
export class Store {
  readonly #db: Database;
  readonly #tx: Tx;
  readonly #options: StoreOptions;
  readonly #together: Together<Tx> | null;
  #wroteAt = Number.NEGATIVE_INFINITY;

  constructor(db: Database, options: StoreOptions) {
    this.#db = db;
    this.#tx = new Tx(db);
    this.#options = options;
    const alone = <T>(work: (tx: Tx) => T) => this.#alone(work);
    this.#together = options.gather === undefined ? null : new Together(alone, options.gather, storeError);
  }

  /**
   * Runs `work` in one immediate transaction; what it throws rolls everything back that it has done. It may be run more
   * than once, and is on disk when this resolves.
   * Throws `store_busy` (75), `disk_full`, `store_readonly`, `store_corrupt` (69).
   */
  write<T>(work: (tx: Tx) => T): Promise<T> {
    return this.#together === null ? this.#alone(work) : this.#together.write(work);
  }

  #alone<T>(work: (tx: Tx) => T): Promise<T> {
    return this.#behindGate(() => this.#immediate(work));
  }

  /**
   * As `write`, but without waiting for the disk: everybody sees it, and a power cut may still take it back. Until the
   * caller has synced the log of the database (`syncFile`), nothing may be done, nor said to anybody, that a power cut
   * would not take back as well. (The next `write` of anybody syncs it, too.)
   */
  async writeAhead<T>(work: (tx: Tx) => T): Promise<T> {
    return this.#behindGate(() => {
      this.#db.run('PRAGMA synchronous = NORMAL');
      try {
        return this.#immediate(work);
      } finally {
        if (this.#options.durability === 'full') this.#db.run('PRAGMA synchronous = FULL');
      }
    });
  }

  async #behindGate<T>(act: () => T): Promise<T> {
    const { clock, gate } = this.#options;
    const start = clock.monotonic();
    // One write after the other would keep the gate closed for everybody who looks at it only now and then.
    if (start - this.#wroteAt < RUN_MS && gate.isWanted?.()) await clock.sleep(1 + Math.random());
    for (;;) {
      const leave = gate.tryEnter();
      if (leave !== null) {
        try {
          return act();
        } catch (error) {
          if (!isBusy(error)) throw storeError(error);
        } finally {
          leave();
          this.#wroteAt = clock.monotonic();
        }
      }
      const waited = clock.monotonic() - start;
      if (waited >= (this.#options.wait_ms ?? 5_000)) throw busyError();
      // Random, so that many who wait do not meet again and again; shorter the longer one has waited, so that none starves.
      await clock.sleep(0.5 + Math.random() * Math.max(0.5, 4 - waited / 25));
    }
  }

  #immediate<T>(work: (tx: Tx) => T): T {
    this.#db.run('BEGIN IMMEDIATE');
    let result: T;
    try {
      result = work(this.#tx);
      this.#db.run('COMMIT');
    } catch (error) {
      if (this.#db.inTransaction) this.#db.run('ROLLBACK');
      throw error;
    }
    return result;
  }

  /** One consistent snapshot; `work` must not write. */
  async read<T>(work: (tx: Tx) => T): Promise<T> {
    try {
      this.#db.run('BEGIN');
      try {
        return work(this.#tx);
      } finally {
        if (this.#db.inTransaction) this.#db.run('COMMIT');
      }
    } catch (error) {
      throw isBusy(error) ? busyError() : storeError(error);
    }
  }

  /** Changes whenever another connection commits; 2 µs. */
  dataVersion(): number {
    return this.#tx.get<{ data_version: number }>('PRAGMA data_version')?.data_version ?? 0;
  }

  close(): void {
    this.#tx.finalize();
    this.#db.close();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

export function isBusy(error: unknown): boolean {
  const code = codeOf(error);
  return code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED');
}

export function busyError(): AppError {
  return new AppError('parked', 'store_busy', 'The database stayed locked by another process for too long.', {
    hint: 'Try again; if it stays, look for a program that holds drover.db open in a write transaction.',
    preserved: 'nothing was written',
  });
}

/** Turns SQLite's failures into typed errors with a way out; everything else is passed on as it is. */
export function storeError(error: unknown): unknown {
  const code = codeOf(error);
  // Without room for it the index of the write-ahead log cannot be made, before anything could be written.
  if (code.startsWith('SQLITE_FULL') || code === 'SQLITE_IOERR_SHMSIZE') {
    return new AppError('unavailable', 'disk_full', 'The disk is full: drover cannot record anything.', {
      hint: 'Free some space; drover goes on by itself afterwards.',
      preserved: 'nothing was written, everything acknowledged before is safe',
    });
  }
  if (code.startsWith('SQLITE_READONLY') || code.startsWith('SQLITE_CANTOPEN') || code.startsWith('SQLITE_PERM')) {
    return new AppError('unavailable', 'store_readonly', 'The database cannot be opened for writing.', {
      hint: 'Check owner and permissions of DROVER_HOME (0700) and drover.db (0600).',
      preserved: 'nothing was written',
    });
  }
  if (code.startsWith('SQLITE_CORRUPT') || code.startsWith('SQLITE_NOTADB')) {
    return new AppError('unavailable', 'store_corrupt', 'The database file is damaged.', {
      hint: '`drover doctor` says how to restore a backup; raw streams are still under DROVER_HOME/sessions.',
      preserved: 'nothing was written',
    });
  }
  if (code.startsWith('SQLITE_IOERR')) {
    return new AppError('unavailable', 'store_io', 'The disk reported an error while the database was used.', {
      hint: 'Check the disk; nothing that was acknowledged before is affected.',
    });
  }
  return error;
}
