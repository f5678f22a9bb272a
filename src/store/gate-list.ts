import type { GateRunRow } from '../model/gate-run.ts';
import type { Store } from './store.ts';

/** Every verdict about the turns of a session, oldest first. */
export async function listGateRuns(store: Store, session_id: string): Promise<GateRunRow[]> {
  return store.read((tx) =>
    tx.all<GateRunRow>('SELECT * FROM gate_runs WHERE session_id = :session_id ORDER BY seq', { session_id }),
  );
}

/** Since when a gate judges the open turn of each of these; those that none judges are missing. */
export async function gatedSince(store: Store, session_ids: readonly string[]): Promise<Map<string, number>> {
  return store.read((tx) => {
    const sql = `SELECT gating_since FROM turns WHERE session_id = :id AND ended_at IS NULL AND gating_since IS NOT NULL`;
    const found = new Map<string, number>();
    for (const id of session_ids) {
      const row = tx.get<{ gating_since: number }>(sql, { id });
      if (row !== null) found.set(id, row.gating_since);
    }
    return found;
  });
}
