import { AppError } from '../model/error.ts';
import { isTerminal, type SessionRow, type SessionState } from '../model/session.ts';
import type { Store, Tx } from './store.ts';

export async function getSession(store: Store, id: string): Promise<SessionRow | null> {
  return store.read((tx) => readSession(tx, id));
}

/** For use inside another transaction. */
export function readSession(tx: Tx, id: string): SessionRow | null {
  return tx.get<SessionRow>('SELECT * FROM sessions WHERE id = :id', { id });
}

/**
 * A session by id, unique id prefix of at least 4 characters, name, or `latest` (E-020, CX-46). Names and `latest` are those
 * of `repo_root`; null: of all repositories. Names are those of `desks` as well. A live one comes before ended ones of its name; of several that ended,
 * `newest` takes the one touched last, and `only` refuses, unless the others were all taken over from. Throws `session_not_found` (4) and `session_ambiguous` (2) with
 * the candidates.
 */
export async function findSession(
  store: Store,
  wanted: string,
  repo_root: string | null,
  { ended = 'newest', desks = [] }: { ended?: 'newest' | 'only'; desks?: readonly string[] } = {},
): Promise<SessionRow> {
  const found = await store.read((tx) => candidates(tx, { wanted, repo_root, ended, desks }));
  if (found.length === 1 && found[0]) return found[0];
  if (found.length === 0) {
    const elsewhere = await store.read((tx) => named(tx, wanted)[0]);
    throw new AppError('not_found', 'session_not_found', `Session not found: ${wanted}`, {
      hint:
        elsewhere === undefined
          ? '`drover status --all` lists every session.'
          : `Another repository has one of that name, ${elsewhere.repo_root}: give its id, ${elsewhere.id}, or add --project.`,
    });
  }
  const count = found.length < MOST_CANDIDATES ? String(found.length) : `at least ${MOST_CANDIDATES}`;
  const isNamed = found.every(({ name }) => name === wanted);
  const what = isNamed ? `the name of ${count} sessions that ended` : `the beginning of ${count} session ids`;
  throw new AppError('usage', 'session_ambiguous', `${wanted} is ${what}.`, {
    hint: `${isNamed ? 'Give an id' : 'Give more of it'}: ${found.map((row) => `${row.id} (${isNamed ? when(row) : row.name})`).join(', ')}`,
    data: { candidates: found.map(({ id, name, state, ended_at }) => ({ id, name, state, ended_at })) },
  });
}

const MOST_CANDIDATES = 10;

function when({ state, ended_at }: SessionRow): string {
  return `${state} ${new Date(ended_at ?? 0).toISOString()}`;
}

interface Wanted {
  wanted: string;
  repo_root: string | null;
  ended: 'newest' | 'only';
  desks: readonly string[];
}

function candidates(tx: Tx, { wanted, repo_root, ended, desks }: Wanted): SessionRow[] {
  if (wanted === 'latest') {
    const where = repo_root === null ? '' : 'WHERE repo_root = :repo_root';
    return tx.all<SessionRow>(
      `SELECT * FROM sessions ${where} ORDER BY updated_at DESC LIMIT 1`,
      repo_root === null ? {} : { repo_root },
    );
  }
  const exact = tx.all<SessionRow>('SELECT * FROM sessions WHERE id = :wanted', { wanted });
  if (exact.length > 0) return exact;
  const namesakes = named(tx, wanted, repo_root === null ? undefined : [repo_root, ...desks]);
  if (namesakes.length > 0) {
    if (ended === 'newest' || namesakes[0]?.ended_at === null) return namesakes.slice(0, 1);
    const heirless = namesakes.filter(({ id }) => !hasSuccessor(tx, id));
    return heirless.length > 0 ? heirless : namesakes;
  }
  if (wanted.length < 4 || !/^[a-z0-9-]+$/.test(wanted)) return [];
  const from = wanted.startsWith('agent-') ? wanted : `agent-${wanted}`;
  return tx.all<SessionRow>('SELECT * FROM sessions WHERE id >= :from AND id < :below ORDER BY id LIMIT :limit', {
    from,
    below: `${from}~`,
    limit: MOST_CANDIDATES,
  });
}

/** Who was taken over from is not meant any more: its name went on with its work. */
function hasSuccessor(tx: Tx, recovered_from: string): boolean {
  return tx.get('SELECT 1 FROM sessions WHERE recovered_from = :recovered_from', { recovered_from }) !== null;
}

/** A live one first (there is at most one), then those that were touched last. */
function named(tx: Tx, wanted: string, roots?: readonly string[]): SessionRow[] {
  const where = roots === undefined ? '' : 'AND repo_root IN (SELECT value FROM json_each(:roots))';
  return tx.all<SessionRow>(
    `SELECT * FROM sessions WHERE name = :wanted ${where}
     ORDER BY (ended_at IS NULL) DESC, updated_at DESC, id LIMIT :limit`,
    { wanted, limit: MOST_CANDIDATES, ...(roots === undefined ? {} : { roots: JSON.stringify(roots) }) },
  );
}

export interface SessionFilter {
  repo_root?: string | null;
  states?: readonly SessionState[];
  parent_id?: string;
  run_id?: string;
  limit?: number;
}

/** Newest first. `repo_root` null or absent: all repositories. `columns`: only these, for many rows at a third of the price. */
export async function listSessions<Column extends keyof SessionRow>(
  store: Store,
  filter: SessionFilter,
  columns?: readonly Column[],
): Promise<Pick<SessionRow, Column>[]> {
  const where: string[] = [];
  const params: Record<string, string | number> = { limit: filter.limit ?? 10_000 };
  const isLiveOnly = filter.states?.every((state) => !isTerminal(state)) ?? false;
  if (filter.repo_root) {
    // Few sessions live and a repository has many: the plus keeps its index from being preferred to that of the living.
    where.push(isLiveOnly ? '+repo_root = :repo_root' : 'repo_root = :repo_root');
    params.repo_root = filter.repo_root;
  }
  if (filter.parent_id) {
    where.push('parent_id = :parent_id');
    params.parent_id = filter.parent_id;
  }
  if (filter.run_id) {
    where.push('run_id = :run_id');
    params.run_id = filter.run_id;
  }
  if (filter.states) {
    where.push(`state IN (${filter.states.map((_, i) => `:state${i}`).join(',')})`);
    filter.states.forEach((state, i) => {
      params[`state${i}`] = state;
    });
    if (isLiveOnly) where.push('ended_at IS NULL');
  }
  const clause = where.length > 0 ? `WHERE ${where.join(' AND ')}` : '';
  return store.read((tx) =>
    tx.all(
      `SELECT ${columns?.join(', ') ?? '*'} FROM sessions ${clause} ORDER BY created_at DESC, id LIMIT :limit`,
      params,
    ),
  );
}

/** The session a token belongs to, while it lives. */
export async function sessionByToken(store: Store, token_hash: string): Promise<SessionRow | null> {
  return store.read((tx) =>
    tx.get<SessionRow>('SELECT * FROM sessions WHERE token_hash = :token_hash AND ended_at IS NULL', { token_hash }),
  );
}

/** Absolute, without links: the file this home's rows are in. */
export async function databaseFile(store: Store): Promise<string> {
  return store.read((tx) => tx.get<{ file: string }>('PRAGMA database_list')?.file ?? '');
}

/** The markers of all turns in flight, each with the name of its session. */
export async function markersInFlight(store: Store): Promise<{ marker: string; name: string }[]> {
  return store.read((tx) =>
    tx.all<{ marker: string; name: string }>(
      `SELECT t.marker, s.name FROM turns AS t JOIN sessions AS s ON s.id = t.session_id WHERE t.ended_at IS NULL`,
    ),
  );
}

/** The session whose turn in flight carries this marker; null when there is none in this home. */
export async function sessionByMarker(store: Store, marker: string): Promise<Pick<SessionRow, 'id' | 'name'> | null> {
  return store.read((tx) =>
    tx.get<Pick<SessionRow, 'id' | 'name'>>(
      `SELECT s.id, s.name FROM turns AS t JOIN sessions AS s ON s.id = t.session_id
       WHERE t.ended_at IS NULL AND t.marker = :marker`,
      { marker },
    ),
  );
}
