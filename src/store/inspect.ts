import { Database } from 'bun:sqlite';
import { isBusy } from './store.ts';
import { SCHEMA, userVersion } from './version.ts';

/** `newer`/`older`: of another drover's schema. `damaged`: SQLite itself says so. `unreadable`: it cannot be opened. */
export type DatabaseState = 'absent' | 'empty' | 'ready' | 'older' | 'newer' | 'damaged' | 'unreadable' | 'busy';

export interface DatabaseFacts {
  state: DatabaseState;
  schema_version: number | null;
  known_version: number;
  /** What SQLite says is wrong with the file, at most five lines. */
  damage: string[];
  /** Rows that speak of rows which do not exist, at most five. */
  strays: string[];
  /** The newest instant in it, wall ms; null when there is none to be read. */
  newest_at: number | null;
}

const BUSY_MS = 5_000;

/** Looks at a database file as a whole: schema, `quick_check`, foreign keys. It writes nothing and never throws for what it finds. */
export async function inspectDatabase(path: string): Promise<DatabaseFacts> {
  const facts: DatabaseFacts = {
    state: 'absent',
    schema_version: null,
    known_version: SCHEMA,
    damage: [],
    strays: [],
    newest_at: null,
  };
  if (!(await Bun.file(path).exists())) return facts;
  let db: Database | null = null;
  try {
    db = new Database(path, { create: false, readwrite: true, strict: true });
    db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    const version = userVersion(db);
    facts.schema_version = version;
    facts.damage = damageOf(db);
    facts.strays = facts.damage.length > 0 ? [] : straysOf(db);
    facts.newest_at = version === SCHEMA ? newestOf(db) : null;
    facts.state = facts.damage.length > 0 ? 'damaged' : stateOf(version);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (!code.startsWith('SQLITE')) throw error;
    facts.state = isBusy(error) ? 'busy' : /CORRUPT|NOTADB/.test(code) ? 'damaged' : 'unreadable';
    facts.damage = [...facts.damage, error instanceof Error ? error.message : code];
  } finally {
    db?.close();
  }
  return facts;
}

function stateOf(version: number): DatabaseState {
  if (version === 0) return 'empty';
  if (version === SCHEMA) return 'ready';
  return version > SCHEMA ? 'newer' : 'older';
}

function damageOf(db: Database): string[] {
  const lines = (db.query('PRAGMA quick_check(5)').all() as { quick_check: string }[]).map((row) => row.quick_check);
  return lines.length === 1 && lines[0] === 'ok' ? [] : lines;
}

function straysOf(db: Database): string[] {
  const strays = db.query('PRAGMA foreign_key_check').all() as { table: string; parent: string }[];
  return strays
    .slice(0, 5)
    .map(({ table, parent }) => `a row of ${table} speaks of a row of ${parent} that does not exist`);
}

function newestOf(db: Database): number | null {
  const row = db
    .query(
      `SELECT max(at) AS at FROM (SELECT max(updated_at) AS at FROM sessions
         UNION ALL SELECT at FROM (SELECT at FROM event_batches ORDER BY seq DESC LIMIT 1)
         UNION ALL SELECT at FROM (SELECT created_at AS at FROM mail ORDER BY seq DESC LIMIT 1))`,
    )
    .get() as { at: number | null } | null;
  return row?.at ?? null;
}

/** Moves the write-ahead log into the database file, as far as no reader still needs it. Bytes of it that are left count as `busy`. */
export function checkpoint(path: string): { busy: boolean } {
  const db = new Database(path, { create: false, readwrite: true, strict: true });
  try {
    db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    const row = db.query('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number } | null;
    return { busy: row?.busy === 1 };
  } finally {
    db.close();
  }
}
