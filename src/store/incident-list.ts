import { AppError } from '../model/error.ts';
import type { IncidentKind, IncidentRow } from '../model/incident.ts';
import { insertDecision } from './decision.ts';
import type { Store, Tx } from './store.ts';

export interface IncidentQuery {
  /** null: of all repositories. */
  repo_root: string | null;
  /** Only those that nobody has resolved. */
  is_open: boolean;
  /** Only those this session is one of the two of. */
  session_id?: string;
  limit?: number;
}

/** Newest last. Of open ones the price is that of their number: nothing when there are none (E-137). */
export async function listIncidents(store: Store, query: IncidentQuery): Promise<IncidentRow[]> {
  const { repo_root, is_open, session_id, limit = 200 } = query;
  const where = [
    ...(is_open ? ['resolved_at IS NULL'] : []),
    // The plus: of all that a repository ever had few are open.
    ...(repo_root === null ? [] : [is_open ? '+repo_root = :repo_root' : 'repo_root = :repo_root']),
    ...(session_id === undefined ? [] : ['(first_session_id = :session_id OR second_session_id = :session_id)']),
  ];
  const clause = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`;
  const params = {
    limit,
    ...(repo_root === null ? {} : { repo_root }),
    ...(session_id === undefined ? {} : { session_id }),
  };
  const rows = await store.read((tx) =>
    tx.all<IncidentRow>(`SELECT * FROM incidents ${clause} ORDER BY created_at DESC, id DESC LIMIT :limit`, params),
  );
  return rows.reverse();
}

/** An incident by id, the beginning of one, or its key (an open one first). Throws `incident_not_found` (4). */
export async function findIncident(store: Store, wanted: string): Promise<IncidentRow> {
  const from = wanted.startsWith('incident-') ? wanted : `incident-${wanted}`;
  const rows = await store.read((tx) => {
    const byKey = tx.all<IncidentRow>(
      'SELECT * FROM incidents WHERE key = :wanted ORDER BY resolved_at IS NOT NULL, created_at DESC LIMIT 1',
      { wanted },
    );
    if (byKey.length > 0) return byKey;
    const below = `${from}~`;
    return tx.all<IncidentRow>('SELECT * FROM incidents WHERE id >= :from AND id < :below ORDER BY id LIMIT 2', {
      from,
      below,
    });
  });
  const [row, other] = rows;
  if (row !== undefined && other === undefined) return row;
  const what = row === undefined ? 'No incident' : 'More than one incident';
  throw new AppError('not_found', 'incident_not_found', `${what} is called ${wanted}.`, {
    hint: '`drover incident list --all` shows every incident.',
    preserved: 'nothing was changed',
  });
}

/** Whether a key is open (E-129, E-137). */
export function hasOpenIncident(tx: Tx, of: { repo_root: string; kind: IncidentKind; key: string }): boolean {
  const open = 'repo_root = :repo_root AND kind = :kind AND key = :key AND resolved_at IS NULL';
  return tx.get(`SELECT 1 FROM incidents WHERE ${open}`, { ...of }) !== null;
}

/** When the key was resolved last; null: never. */
export function settledAt(tx: Tx, of: { repo_root: string; kind: IncidentKind; key: string }): number | null {
  const row = tx.get<{ at: number | null }>(
    'SELECT max(resolved_at) AS at FROM incidents WHERE repo_root = :repo_root AND kind = :kind AND key = :key',
    { ...of },
  );
  return row?.at ?? null;
}

/** Open incidents that hold a session back. */
export function holdersOf(tx: Tx, session_id: string): IncidentRow[] {
  return tx.all<IncidentRow>(
    'SELECT * FROM incidents WHERE paused_session_id = :session_id AND resolved_at IS NULL ORDER BY created_at, id',
    { session_id },
  );
}

/**
 * The two ways round an open incident: none, or with `force`, after which it stays open, so that the same two sessions are
 * not held for the same file again, but holds nobody any more (CX-27). For use in the transaction that resumes. Throws
 * `incident_open` (3).
 */
export function passIncidents(
  tx: Tx,
  session: { id: string; name: string },
  { force, by, now }: { force: boolean; by: string; now: number },
): void {
  const held = holdersOf(tx, session.id);
  if (held.length === 0) return;
  if (!force) throw incidentOpen(session, held);
  tx.run(
    'UPDATE incidents SET paused_session_id = NULL, updated_at = :now WHERE paused_session_id = :id AND resolved_at IS NULL',
    { id: session.id, now },
  );
  for (const { path, active_session_id } of held) {
    insertDecision(tx, {
      ...{
        session_id: session.id,
        decision: `Continue in spite of the conflict on ${path}`,
        reasoning: `forced by ${by}`,
        at: now,
      },
      alternatives: [`Keep ${active_session_id ?? 'the other'} active`],
    });
  }
}

function incidentOpen({ name }: { name: string }, held: readonly IncidentRow[]): AppError {
  const [first] = held;
  const paths = held.map(({ path }) => path);
  const shown = `${paths.slice(0, 3).join(', ')}${paths.length > 3 ? ', …' : ''}`;
  const ids = held.map(({ id }) => id);
  return new AppError('refused', 'incident_open', `${name} is held because of an open incident on ${shown}.`, {
    hint: `Look at it, settle it, and put ${name} back: drover incident resolve ${first?.id ?? ''} --resume`,
    unsafe_condition: `another session has changed the same file and nobody has decided which change stands`,
    would_change: `${name} would go on from its own version of ${shown}`,
    preserved: 'nothing was changed',
    recovery_commands: [
      ...ids.slice(0, 3).flatMap((id) => [`drover incident show ${id}`, `drover incident resolve ${id} --resume`]),
      `drover resume ${name} --force`,
    ],
    data: { incidents: ids },
  });
}

/** What a merge of the two branches would come to, as it was asked last; also of one that is resolved by now. */
export async function setPrediction(store: Store, id: string, prediction_json: string): Promise<void> {
  await store.write((tx) =>
    tx.run('UPDATE incidents SET prediction_json = :prediction_json WHERE id = :id', { id, prediction_json }),
  );
}
