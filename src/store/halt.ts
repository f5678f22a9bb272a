import type { HaltRow } from '../model/halt.ts';
import type { PlanRow } from '../model/plan.ts';
import { LIVE_STATES } from '../model/session.ts';
import { type Ended, stopIn } from './control.ts';
import { standingHaltIn } from './halted.ts';
import { movePlanIn } from './plan.ts';
import { sqlList } from './sql-list.ts';
import type { Store, Tx } from './store.ts';

export interface Halting {
  halt: HaltRow;
  /** False: one stood already, and stands as it was. */
  is_new: boolean;
  /** Those that were live, newest first. */
  stopped: Ended[];
  /** Plans that went on, now paused. */
  plans: PlanRow[];
  /** What is held beside them: schedules that are switched on, and when the first of them is due; requests that wait. */
  schedules: number;
  next_schedule_at: number | null;
  requests: number;
}

/**
 * A person's emergency stop, in one transaction: the halt, every live session stopped with what belongs to its end (its
 * token is void with it), every plan that goes on paused. Whoever slings while it commits is either stopped by it or refused
 * after it.
 */
export async function haltAll(store: Store, input: { by: string; reason: string; now: number }): Promise<Halting> {
  const { by, reason, now } = input;
  return store.write((tx) => {
    const fresh = tx.get<HaltRow>(
      'INSERT INTO halts (at, halted_by, reason) VALUES (:now, :by, :reason) ON CONFLICT DO NOTHING RETURNING *',
      { by, reason, now },
    );
    const halt = fresh ?? standingHaltIn(tx);
    if (halt === null) throw new Error('a halt stands, or one is made');
    const live = tx.all<{ id: string }>(
      `SELECT id FROM sessions WHERE ended_at IS NULL AND state IN (${sqlList(LIVE_STATES)}) ORDER BY created_at DESC, id`,
    );
    const stopped = live.map(({ id }) => stopIn(tx, { session_id: id, actor: 'cli', reason, now }));
    for (const { row } of stopped) take(tx, 'session', row.id);
    const plans = tx
      .all<{ id: string }>("SELECT id FROM plans WHERE state IN ('active', 'parked') ORDER BY created_at, id")
      .flatMap(({ id }) => movePlanIn(tx, { id, to: 'paused', reason: `halted: ${reason}`, now }) ?? []);
    for (const { id } of plans) take(tx, 'plan', id);
    return { halt, is_new: fresh !== null, stopped, plans, ...heldIn(tx) };
  });
}

function take(tx: Tx, kind: 'session' | 'plan', id: string): void {
  tx.run('INSERT INTO halted (kind, id) VALUES (:kind, :id) ON CONFLICT DO NOTHING', { kind, id });
}

function heldIn(tx: Tx): Pick<Halting, 'schedules' | 'next_schedule_at' | 'requests'> {
  const due = tx.get<{ n: number; at: number | null }>(
    'SELECT count(*) AS n, min(next_run_at) AS at FROM schedules WHERE is_enabled = 1 AND next_run_at IS NOT NULL',
  );
  const requests = tx.get<{ n: number }>("SELECT count(*) AS n FROM dispatch_requests WHERE state = 'pending'")?.n ?? 0;
  return { schedules: due?.n ?? 0, next_schedule_at: due?.at ?? null, requests };
}

/** Sessions that the halt stopped in the middle of a step, and that nobody has brought back: with the halt's end they go on. */
export async function haltedSteps(store: Store): Promise<string[]> {
  return store.read((tx) =>
    tx
      .all<{ id: string }>(
        `SELECT s.id FROM halted AS h JOIN sessions AS s ON s.id = h.id
           JOIN step_sessions AS t ON t.session_id = s.id
           JOIN plan_steps AS p ON p.plan_id = t.plan_id AND p.step_id = t.step_id AND p.round = t.round
         WHERE h.kind = 'session' AND s.state = 'stopped' AND p.ended_at IS NULL
         ORDER BY t.created_at, s.id`,
      )
      .map(({ id }) => id),
  );
}

export interface Lifted {
  halt: HaltRow;
  /** Plans that the halt had paused, which go on. */
  plans: PlanRow[];
  /** Sessions that it stopped and that nobody has brought back: they stay as they are. */
  stopped: { id: string; name: string }[];
}

/** Ends the halt, and what it paused goes on, in one transaction. Null: none stands. */
export async function liftHalt(store: Store, input: { by: string; now: number }): Promise<Lifted | null> {
  return store.write((tx) => {
    const halt = tx.get<HaltRow>(
      'UPDATE halts SET lifted_at = :now, lifted_by = :by WHERE lifted_at IS NULL RETURNING *',
      input,
    );
    if (halt === null) return null;
    const plans = tx
      .all<{ id: string }>(
        `SELECT p.id FROM halted AS h JOIN plans AS p ON p.id = h.id
         WHERE h.kind = 'plan' AND p.state = 'paused' ORDER BY p.created_at, p.id`,
      )
      .flatMap(({ id }) => movePlanIn(tx, { id, to: 'active', reason: null, now: input.now }) ?? []);
    const stopped = tx.all<{ id: string; name: string }>(
      `SELECT s.id, s.name FROM halted AS h JOIN sessions AS s ON s.id = h.id
       WHERE h.kind = 'session' AND s.state = 'stopped' ORDER BY s.created_at, s.id`,
    );
    tx.run('DELETE FROM halted');
    return { halt, plans, stopped };
  });
}
