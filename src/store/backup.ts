import { Database } from 'bun:sqlite';
import { AppError } from '../model/error.ts';
import { busyError, isBusy, storeError } from './store.ts';

/**
 * Writes a whole, compact copy of the database at `path` to `target`, which must not exist, and reads it once. On a
 * connection of its own it only reads, so nobody waits for it. The caller syncs and renames it.
 * Throws `store_corrupt`, `store_busy`, `disk_full` … like every store operation; a partial target is the caller's to remove.
 */
export function backup(path: string, target: string): void {
  try {
    const source = new Database(path, { create: false, readwrite: true, strict: true });
    try {
      source.run('PRAGMA busy_timeout = 5000');
      source.query('VACUUM INTO :target').run({ target });
    } finally {
      source.close();
    }
    const copy = new Database(target, { readonly: true, strict: true });
    try {
      const said = copy.query('PRAGMA quick_check(1)').get() as { quick_check: string } | null;
      if (said?.quick_check !== 'ok') {
        throw new AppError('failed', 'backup_unreadable', `The copy of the database is damaged: ${said?.quick_check}`, {
          hint: '`drover doctor` looks at the database itself.',
        });
      }
    } finally {
      copy.close();
    }
  } catch (error) {
    throw isBusy(error) ? busyError() : storeError(error);
  }
}
