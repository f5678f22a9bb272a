import { Database } from 'bun:sqlite';
import type { OpenOptions } from './open.ts';
import { Store, storeError } from './store.ts';
import { SCHEMA, userVersion } from './version.ts';

type ReadOptions = Omit<OpenOptions, 'durability'>;

/**
 * Opens an existing database for reading: no gate, no pragma that writes. `null` when there is none yet, or an empty one
 * that somebody is just making, so that a read verb creates nothing (H-09). An older schema is migrated first.
 * Throws like `openStore`.
 */
export async function openReader(options: ReadOptions): Promise<Store | null> {
  if (!(await Bun.file(options.path).exists())) return null;
  const reader = readerOf(options);
  if (reader === 'empty') return null;
  if (reader !== null) return reader;
  const { openStore } = await import('./open.ts');
  return openStore({ ...options, durability: 'full' });
}

/** `null`: its schema is an older one. */
function readerOf(options: ReadOptions): Store | 'empty' | null {
  try {
    const db = new Database(options.path, { create: false, readwrite: true, strict: true });
    try {
      db.run(`PRAGMA busy_timeout = ${options.busy_timeout_ms ?? 5_000}`);
      const version = userVersion(db);
      if (version === SCHEMA) return new Store(db, options);
      if (version === 0) {
        db.close();
        return 'empty';
      }
    } catch (error) {
      db.close();
      throw error;
    }
    db.close();
    return null;
  } catch (error) {
    throw storeError(error);
  }
}
