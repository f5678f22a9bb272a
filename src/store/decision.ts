import type { DecisionRow } from '../model/incident.ts';
import type { Store, Tx } from './store.ts';

/** Notes what was decided for a session, what else could have been, and why (E-143). */
export function insertDecision(
  tx: Tx,
  draft: Pick<DecisionRow, 'session_id' | 'decision' | 'reasoning' | 'at'> & { alternatives: readonly string[] },
): void {
  const { alternatives, ...row } = draft;
  tx.run(
    `INSERT INTO decisions (session_id, decision, alternatives_json, reasoning, at)
     VALUES (:session_id, :decision, :alternatives_json, :reasoning, :at)`,
    { ...row, alternatives_json: JSON.stringify(alternatives) },
  );
}

/** The newest `limit` decisions for a session, newest last (E-143). */
export async function listDecisions(
  store: Store,
  { session_id, limit }: { session_id: string; limit: number },
): Promise<DecisionRow[]> {
  const rows = await store.read((tx) =>
    tx.all<DecisionRow>('SELECT * FROM decisions WHERE session_id = :session_id ORDER BY seq DESC LIMIT :limit', {
      session_id,
      limit,
    }),
  );
  return rows.reverse();
}
