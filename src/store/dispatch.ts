import type { DispatchRow } from '../model/dispatch.ts';
import { PRIORITIES } from '../model/mail.ts';
import type { Actor, SessionRow } from '../model/session.ts';
import { isHalted } from './halted.ts';
import { insertSessionIn, type Sling } from './new-session.ts';
import type { Store } from './store.ts';

export type NewDispatch = Omit<
  DispatchRow,
  'state' | 'claimed_by' | 'claimed_at' | 'result_action' | 'result_session_id' | 'error' | 'created_at' | 'updated_at'
>;

const NEW_COLUMNS: readonly (keyof NewDispatch)[] = [
  ...(['id', 'kind', 'target_session_id', 'task', 'target_url', 'priority', 'harness', 'profile_name'] as const),
  ...(['worktree', 'project', 'task_group', 'repo_root', 'working_dir', 'source', 'requester'] as const),
];

const rankOf = (row: string) =>
  `CASE ${row}.priority ${PRIORITIES.map((word, rank) => `WHEN '${word}' THEN ${-rank}`).join(' ')} END`;

/** Highest first, then the oldest (E-064). */
const ORDER = `ORDER BY ${rankOf('r')}, created_at, id`;

/** A request of `:later`, or one that such a one of the same lead comes before: that would be overtaken (E-065). */
const LATER = `(r.id IN (SELECT value FROM json_each(:later)) OR EXISTS (SELECT 1 FROM dispatch_requests AS q
  WHERE q.id IN (SELECT value FROM json_each(:later)) AND q.state = 'pending' AND q.target_session_id = r.target_session_id
    AND (${rankOf('q')}, q.created_at, q.id) < (${rankOf('r')}, r.created_at, r.id)))`;

/** Stored `pending` (E-061). */
export async function insertDispatch(store: Store, draft: NewDispatch, now: number): Promise<DispatchRow> {
  return store.write((tx) => {
    const row = tx.get<DispatchRow>(
      `INSERT INTO dispatch_requests (${NEW_COLUMNS.join(', ')}, state, created_at, updated_at)
       VALUES (${NEW_COLUMNS.map((column) => `:${column}`).join(', ')}, 'pending', :now, :now) RETURNING *`,
      { ...draft, now },
    );
    if (row === null) throw new Error('an inserted row is returned');
    return row;
  });
}

/** Pending ones in the order of their processing; with `all` those that are through as well (E-064). */
export async function listDispatch(store: Store, filter: { all?: boolean; limit: number }): Promise<DispatchRow[]> {
  const where = filter.all ? '' : "WHERE state = 'pending'";
  return store.read((tx) =>
    tx.all<DispatchRow>(`SELECT r.* FROM dispatch_requests AS r ${where} ${ORDER} LIMIT :limit`, {
      limit: filter.limit,
    }),
  );
}

/** Pending ones without those that are to come `later`, and without what would overtake one of them at its lead. */
export async function nextDispatches(
  store: Store,
  { later, limit }: { later: ReadonlySet<string>; limit: number },
): Promise<DispatchRow[]> {
  return store.read((tx) =>
    tx.all<DispatchRow>(
      `SELECT r.* FROM dispatch_requests AS r WHERE state = 'pending' ${later.size === 0 ? '' : `AND NOT ${LATER}`}
       ${ORDER} LIMIT :limit`,
      { limit, ...(later.size === 0 ? {} : { later: JSON.stringify([...later]) }) },
    ),
  );
}

/** Takes a request that is pending (I10). Null: somebody was first. */
export async function claimDispatch(
  store: Store,
  input: { id: string; claimed_by: string; now: number },
): Promise<DispatchRow | null> {
  return store.write((tx) =>
    tx.get<DispatchRow>(
      `UPDATE dispatch_requests SET state = 'dispatching', claimed_by = :claimed_by, claimed_at = :now, updated_at = :now
       WHERE id = :id AND state = 'pending' RETURNING *`,
      input,
    ),
  );
}

/** How a claimed request went on: `deferred` puts it back for the next pass (E-067). */
export type DispatchEnd =
  | { state: 'dispatched'; result_action: string; result_session_id: string }
  | { state: 'failed'; error: string }
  | { state: 'deferred' };

/** Ends a claim that is still held by `claimed_by`. Null: it was taken away meanwhile. */
export async function settleDispatch(
  store: Store,
  input: { id: string; claimed_by: string; end: DispatchEnd; now: number },
): Promise<DispatchRow | null> {
  const { id, claimed_by, end, now } = input;
  const result = end.state === 'dispatched' ? end : { result_action: null, result_session_id: null };
  return store.write((tx) =>
    tx.get<DispatchRow>(
      `UPDATE dispatch_requests SET state = :state, claimed_by = NULL, claimed_at = NULL, updated_at = :now,
         result_action = :result_action, result_session_id = :result_session_id, error = :error
       WHERE id = :id AND state = 'dispatching' AND claimed_by = :claimed_by RETURNING *`,
      {
        ...{ id, claimed_by, now, state: end.state === 'deferred' ? 'pending' : end.state },
        result_action: result.result_action,
        result_session_id: result.result_session_id,
        error: end.state === 'failed' ? end.error : null,
      },
    ),
  );
}

/**
 * An untargeted request becomes a session of its own, both in one transaction, so that no death in between makes two
 * (E-066). Null: it is not pending any more, or everything is halted. Throws what `insertSessionIn` throws; then it is still pending.
 */
export async function spawnDispatch(
  store: Store,
  input: { id: string; sling: Sling; actor: Actor; now: number },
): Promise<SessionRow | null> {
  const { id, sling, actor, now } = input;
  return store.write((tx) => {
    if (isHalted(tx)) return null;
    if (tx.get("SELECT 1 FROM dispatch_requests WHERE id = :id AND state = 'pending'", { id }) === null) return null;
    const session = insertSessionIn(tx, sling, actor);
    tx.run(
      `UPDATE dispatch_requests SET state = 'dispatched', result_action = 'spawned_top_level',
         result_session_id = :session_id, updated_at = :now WHERE id = :id AND state = 'pending'`,
      { id, session_id: session.id, now },
    );
    return session;
  });
}

/** Claims whose holder is not `claimed_by`, the only one that lives, are pending again. */
export async function releaseDispatch(store: Store, claimed_by: string, now: number): Promise<number> {
  return store.write((tx) =>
    tx.run(
      `UPDATE dispatch_requests SET state = 'pending', claimed_by = NULL, claimed_at = NULL, updated_at = :now
       WHERE state = 'dispatching' AND claimed_by <> :claimed_by`,
      { claimed_by, now },
    ),
  );
}
