import type { SessionState } from '../model/session.ts';
import type { Store } from './store.ts';

/** A turn that processes of this machine may speak of by its marker. */
export interface MarkedTurn {
  marker: string;
  session_id: string;
  name: string;
  turn: number;
  ended_at: number | null;
}

/** The turns that these markers belong to; unknown markers have no row. */
export async function turnsOfMarkers(store: Store, markers: readonly string[]): Promise<MarkedTurn[]> {
  return store.read((tx) =>
    tx.all<MarkedTurn>(
      `SELECT t.marker, t.session_id, s.name, t.turn, t.ended_at FROM turns AS t JOIN sessions AS s ON s.id = t.session_id
       WHERE t.marker IN (SELECT value FROM json_each(:markers))`,
      { markers: JSON.stringify(markers) },
    ),
  );
}

/** What a session's files and checkout are to be compared with. */
export interface SessionTraces {
  id: string;
  name: string;
  state: SessionState;
  project: string;
  repo_root: string;
  branch: string | null;
  worktree_path: string | null;
  ended_at: number | null;
  /** Number of its newest turn. */
  turn: number;
}

export async function sessionTraces(store: Store): Promise<SessionTraces[]> {
  return store.read((tx) =>
    tx.all<SessionTraces>(
      'SELECT id, name, state, project, repo_root, branch, worktree_path, ended_at, turn FROM sessions ORDER BY created_at, id',
    ),
  );
}

/** Work that needs a supervisor: turns in flight, and sessions in the queue. */
export async function pendingWork(store: Store): Promise<{ open_turns: number; queued: number }> {
  return store.read(
    (tx) =>
      tx.get<{ open_turns: number; queued: number }>(
        `SELECT (SELECT count(*) FROM turns WHERE ended_at IS NULL) AS open_turns,
           (SELECT count(*) FROM sessions WHERE ended_at IS NULL AND state = 'queued') AS queued`,
      ) ?? { open_turns: 0, queued: 0 },
  );
}
