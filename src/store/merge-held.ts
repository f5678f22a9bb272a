import type { MergeRow } from '../model/merge.ts';
import type { Store } from './store.ts';

/**
 * By session, of `ids`: the newest attempt to merge it since its end, if a red gate or a conflict kept it out. Whoever goes on
 * with its work has to know.
 */
export async function heldMerges(store: Store, ids: readonly string[]): Promise<Map<string, MergeRow>> {
  if (ids.length === 0) return new Map();
  const rows = await store.read((tx) =>
    tx.all<MergeRow>(
      `SELECT m.* FROM merges AS m JOIN sessions AS s ON s.id = m.session_id
       WHERE m.session_id IN (SELECT value FROM json_each(:ids)) AND m.outcome IN ('gate', 'conflict')
         AND m.ended_at >= s.ended_at
         AND NOT EXISTS (SELECT 1 FROM merges AS n WHERE n.session_id = m.session_id AND n.seq > m.seq)`,
      { ids: JSON.stringify(ids) },
    ),
  );
  return new Map(rows.map((row) => [row.session_id, row]));
}
