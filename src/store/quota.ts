import { QUOTA_LASTS_MS, type Quota } from '../model/quota.ts';
import type { Store, Tx } from './store.ts';

/** For use inside the transaction of the stream that said it. */
export function noteQuotas(tx: Tx, session_id: string, quotas: Iterable<Quota>, now: number): void {
  for (const quota of quotas)
    tx.run(
      `INSERT INTO pool_quotas (pool, kind, share_left, resets_at, told_at)
       SELECT pool, :kind, :share_left, :resets_at, :now FROM sessions WHERE id = :session_id
       ON CONFLICT (pool, kind) DO UPDATE SET share_left = excluded.share_left, resets_at = excluded.resets_at,
         told_at = excluded.told_at`,
      { session_id, now, kind: quota.kind, share_left: quota.share_left, resets_at: quota.resets_at },
    );
}

/**
 * The least share that is left of the quotas of a plan's pools, 0 to 1: as providers told it, until it resets; of a pool that
 * a usage limit holds, nothing is left. Null: nobody said.
 */
export async function quotaLeft(store: Store, plan_id: string, now: number): Promise<number | null> {
  return store.read(
    (tx) =>
      tx.get<{ least: number | null }>(
        `WITH own(pool) AS (SELECT DISTINCT pool FROM plan_steps WHERE plan_id = :plan_id)
         SELECT min(share) AS least FROM (
           SELECT q.share_left AS share FROM pool_quotas AS q JOIN own ON own.pool = q.pool
           WHERE coalesce(q.resets_at, q.told_at + :lasts) > :now
           UNION ALL
           SELECT 0 FROM pools AS p JOIN own ON own.pool = p.name
           WHERE p.state IN ('blocked','probing') AND p.reason = 'usage_limit')`,
        { plan_id, now, lasts: QUOTA_LASTS_MS },
      )?.least ?? null,
  );
}
