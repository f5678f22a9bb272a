import type { Database } from 'bun:sqlite';

/** The schema this drover reads and writes: the number of `MIGRATIONS`, apart from them because a reader needs no more. */
export const SCHEMA = 6;

/** 0: nothing was ever stored. */
export function userVersion(db: Database): number {
  return (db.query('PRAGMA user_version').get() as { user_version: number }).user_version;
}
