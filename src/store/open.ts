import { Database } from 'bun:sqlite';
import { AppError } from '../model/error.ts';
import { MIGRATIONS } from './schema.ts';
import { busyError, isBusy, Store, type StoreOptions, storeError } from './store.ts';
import { SCHEMA, userVersion } from './version.ts';

export interface OpenOptions extends StoreOptions {
  path: string;
  durability: 'full' | 'normal';
  /** How long SQLite itself may block the thread. The supervisor passes 50. */
  busy_timeout_ms?: number;
}

/**
 * Opens the one database, creates or migrates it. `busy_timeout` comes first (CX-59), and the whole first open happens
 * behind the gate, because setting WAL ignores the busy timeout.
 * Throws `schema_newer` (69) when a newer drover wrote it.
 */
export async function openStore(options: OpenOptions): Promise<Store> {
  const { clock, wait_ms = 5_000 } = options;
  const deadline = clock.monotonic() + wait_ms;
  for (;;) {
    const leave = await enterGate(options);
    try {
      return openNow(options);
    } catch (error) {
      // Somebody who does not know the gate writes at this instant, and WAL is not switched on under a busy timeout.
      if (!isBusy(error)) throw storeError(error);
      if (clock.monotonic() >= deadline) throw busyError();
    } finally {
      leave();
    }
    await clock.sleep(5 + Math.random() * 20);
  }
}

function openNow(options: OpenOptions): Store {
  const db = new Database(options.path, { create: true, readwrite: true, strict: true });
  try {
    db.run(`PRAGMA busy_timeout = ${options.busy_timeout_ms ?? 5_000}`);
    refuseNewer(userVersion(db));
    prepare(db, options);
    migrate(db);
    return new Store(db, options);
  } catch (error) {
    db.close();
    throw error;
  }
}

async function enterGate({ gate, clock, wait_ms = 5_000 }: StoreOptions): Promise<() => void> {
  const deadline = clock.monotonic() + wait_ms;
  for (;;) {
    const leave = gate.tryEnter();
    if (leave !== null) return leave;
    if (clock.monotonic() >= deadline) {
      throw new AppError('parked', 'store_busy', 'The database is being written by another process for too long.', {
        hint: 'Try again in a moment.',
        preserved: 'nothing was written',
      });
    }
    await clock.sleep(1 + Math.random() * 4);
  }
}

function prepare(db: Database, options: OpenOptions): void {
  db.run('PRAGMA journal_mode = WAL');
  db.run(`PRAGMA synchronous = ${options.durability === 'full' ? 'FULL' : 'NORMAL'}`);
  db.run('PRAGMA foreign_keys = ON');
  db.run('PRAGMA trusted_schema = OFF');
  db.run('PRAGMA wal_autocheckpoint = 4000');
}

function migrate(db: Database): void {
  if (userVersion(db) === SCHEMA) return;
  db.run('BEGIN IMMEDIATE');
  try {
    // Read again: whoever held the lock before may have been another drover, even a newer one.
    const version = userVersion(db);
    refuseNewer(version);
    for (const step of MIGRATIONS.slice(version)) db.run(step);
    db.run(`PRAGMA user_version = ${SCHEMA}`);
    db.run('COMMIT');
  } catch (error) {
    if (db.inTransaction) db.run('ROLLBACK');
    throw error;
  }
}

function refuseNewer(version: number): void {
  if (version <= SCHEMA) return;
  throw new AppError(
    'unavailable',
    'schema_newer',
    `The database is of schema ${version}, this drover knows ${SCHEMA}.`,
    {
      hint: 'Use the newer drover that wrote it, or point DROVER_HOME to another directory.',
      preserved: 'nothing was changed',
    },
  );
}
