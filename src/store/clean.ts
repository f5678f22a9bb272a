import { AT_REST } from './at-rest.ts';
import { sqlList } from './sql-list.ts';
import type { Store, Tx } from './store.ts';

/**
 * Runs `act` while nobody can bring the session back: it is short, awaits nothing, and runs only when the session has
 * ended and no turn of it is open. False: somebody was first.
 */
export async function whileEnded(store: Store, session_id: string, act: () => void): Promise<boolean> {
  return store.write((tx) => {
    if (tx.get(`SELECT 1 FROM sessions WHERE id = :session_id AND ${AT_REST}`, { session_id }) === null) return false;
    act();
    return true;
  });
}

/** Another session that needs a worktree. */
export interface WorktreeUser {
  id: string;
  name: string;
  state: string;
}

/**
 * Sessions beside `ids` that a worktree belongs to, and live ones that work in it or below or wait for it. Only constants of ours go
 * into the list, so the ids are checked.
 */
export async function worktreeUsers(store: Store, path: string, ids: readonly string[]): Promise<WorktreeUser[]> {
  return store.read((tx) => usersOf(tx, path, ids));
}

function usersOf(tx: Tx, path: string, ids: readonly string[]): WorktreeUser[] {
  const known = ids.filter((id) => /^[a-z0-9-]+$/.test(id));
  return tx.all<WorktreeUser>(
    `SELECT id, name, state FROM sessions
     WHERE (worktree_path = :path AND id NOT IN (${sqlList(known)}))
        OR (NOT (${AT_REST}) AND (working_dir = :path OR substr(working_dir, 1, length(:path) + 1) = :path || '/'
          OR id IN (SELECT session_id FROM worktrees WHERE path = :path)))
     ORDER BY created_at, id`,
    { path },
  );
}

/**
 * Takes a worktree away from the ended sessions `ids` that have it, all or none (E-148, I22): from then on nobody starts
 * in it. Null when somebody else needs it by now; else the sessions that had it. `updated_at` stays: nothing happened
 * to the session itself, and `latest` must not move. The slot stays taken until `freeSlot`, when the directory is gone.
 */
export async function detachWorktree(
  store: Store,
  input: { path: string; ids: readonly string[]; now: number },
): Promise<string[] | null> {
  return store.write((tx) => {
    if (usersOf(tx, input.path, input.ids).length > 0) return null;
    const rows = tx.all<{ id: string }>('SELECT id FROM sessions WHERE worktree_path = :path', { path: input.path });
    const changed = tx.run(
      `UPDATE sessions SET worktree_path = NULL, working_dir = repo_root WHERE worktree_path = :path AND ${AT_REST}`,
      { path: input.path },
    );
    if (changed !== rows.length) throw new Error('a session with this worktree was not at rest');
    tx.run('UPDATE worktrees SET removing_at = :now WHERE path = :path', { path: input.path, now: input.now });
    return rows.map((row) => row.id);
  });
}

/**
 * Gives it back when it could not be removed after all. For a session that was resumed meanwhile its slot becomes a claim
 * again, by which it finds the worktree.
 */
export async function reattachWorktree(
  store: Store,
  input: { path: string; working_dirs: Record<string, string> },
): Promise<void> {
  await store.write((tx) => {
    for (const [id, working_dir] of Object.entries(input.working_dirs)) {
      tx.run(
        `UPDATE sessions SET worktree_path = :path, working_dir = :working_dir
         WHERE id = :id AND worktree_path IS NULL AND ${AT_REST}`,
        { id, path: input.path, working_dir },
      );
    }
    const hasOwner = 'EXISTS (SELECT 1 FROM sessions WHERE worktree_path = :path)';
    tx.run(
      `UPDATE worktrees SET removing_at = NULL, created_at = CASE WHEN ${hasOwner} THEN created_at END WHERE path = :path`,
      { path: input.path },
    );
  });
}
