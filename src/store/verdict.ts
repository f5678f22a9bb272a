import type { TickRow, VerdictRow } from '../model/verdict.ts';
import type { Store, Tx } from './store.ts';

export type VerdictDraft = Omit<VerdictRow, 'seq' | 'triage_id'> & Partial<Pick<VerdictRow, 'triage_id'>>;

/** For use inside the transaction of what was done about it. */
export function appendVerdict(tx: Tx, draft: VerdictDraft): void {
  tx.run(
    `INSERT INTO verdicts (session_id, turn, judged_by, tier, health, cause, act, level, evidence, facts_json, limits_json, triage_id, at)
     VALUES (:session_id, :turn, :judged_by, :tier, :health, :cause, :act, :level, :evidence, :facts_json, :limits_json, :triage_id, :at)`,
    { triage_id: null, ...draft },
  );
}

/** Every verdict about one session, oldest first. */
export async function listVerdicts(store: Store, session_id: string): Promise<VerdictRow[]> {
  return store.read((tx) =>
    tx.all<VerdictRow>('SELECT * FROM verdicts WHERE session_id = :session_id ORDER BY seq', { session_id }),
  );
}

/** The newest verdict about each of these sessions; those that were never judged are missing. */
export async function latestVerdicts(
  store: Store,
  session_ids: readonly string[],
): Promise<Map<string, Pick<VerdictRow, 'turn' | 'health' | 'cause' | 'at'>>> {
  return store.read((tx) => {
    const found = new Map<string, Pick<VerdictRow, 'turn' | 'health' | 'cause' | 'at'>>();
    for (const id of session_ids) {
      const sql = 'SELECT turn, health, cause, at FROM verdicts WHERE session_id = :id ORDER BY seq DESC LIMIT 1';
      const row = tx.get<Pick<VerdictRow, 'turn' | 'health' | 'cause' | 'at'>>(sql, { id });
      if (row !== null) found.set(id, row);
    }
    return found;
  });
}

/** Reports of the past that are kept. */
const MAX_TICKS = 1_000;

/** The report of one look at the fleet; old ones go. */
export async function appendTick(store: Store, tick: Omit<TickRow, 'seq'>): Promise<void> {
  await store.write((tx) => {
    const row = tx.get<{ seq: number }>(
      'INSERT INTO ticks (at, took_ms, watched, report_json) VALUES (:at, :took_ms, :watched, :report_json) RETURNING seq',
      { ...tick },
    );
    tx.run('DELETE FROM ticks WHERE seq <= :last', { last: (row?.seq ?? 0) - MAX_TICKS });
  });
}

export async function lastTick(store: Store): Promise<TickRow | null> {
  return store.read((tx) => tx.get<TickRow>('SELECT * FROM ticks ORDER BY seq DESC LIMIT 1'));
}
