import { LIMITS } from '../model/pool.ts';
import { logIn } from './plan.ts';
import { sqlList } from './sql-list.ts';
import type { Store, Tx } from './store.ts';

const LAST = `SELECT detail AS pool, event FROM plan_log AS l WHERE plan_id = :plan_id AND event IN ('pool_shut', 'pool_open')
  AND seq = (SELECT max(seq) FROM plan_log WHERE plan_id = :plan_id AND event IN ('pool_shut', 'pool_open') AND detail = l.detail)`;

/** A limit holds it; a refused login and a person's word are none. */
const IS_LIMITED = `SELECT 1 FROM pools WHERE name = :pool AND (state = 'open' OR reason IN (${sqlList(LIMITS)}))`;

/**
 * Notes since when, and until when, a step of the plan that could start was held back because its pool was shut by a limit:
 * no session was slung, so nothing else tells of that time. `held`: the pools that hold one back now. A line is written
 * when that changes, and once, whoever looks.
 */
export async function noteHeldPools(
  store: Store,
  input: { plan_id: string; held: readonly string[]; now: number },
): Promise<void> {
  const changes = (tx: Tx) => {
    const { plan_id, held } = input;
    const last = new Map(
      tx.all<{ pool: string; event: string }>(LAST, { plan_id }).map(({ pool, event }) => [pool, event]),
    );
    const shut = held.filter((pool) => last.get(pool) !== 'pool_shut' && tx.get(IS_LIMITED, { pool }) !== null);
    const open = [...last].filter(([pool, event]) => event === 'pool_shut' && !held.includes(pool));
    return [...shut.map((pool) => ['pool_shut', pool]), ...open.map(([pool]) => ['pool_open', pool])] as const;
  };
  if ((await store.read(changes)).length === 0) return;
  await store.write((tx) => {
    for (const [event = '', detail = null] of changes(tx))
      logIn(tx, { plan_id: input.plan_id, step_id: null, event, detail, at: input.now });
  });
}
