import type { BudgetRow } from '../model/budget.ts';
import type { SessionRow } from '../model/session.ts';
import { type BudgetKey, listBudgetsIn, nameOf, readSpent, type Spent } from './budget.ts';
import type { Store, Tx } from './store.ts';

/** A budget as people see it. */
export interface BudgetView extends Spent {
  /** Of the run or session; else the key. */
  name: string;
  /** Sessions that it has parked. */
  parked_count: number;
  /** Its session has ended, or its run is over; what it has spent stays known (E-122). */
  is_over: boolean;
}

/** Every budget with what is spent of it, in the order of the scopes; `day` is the last midnight. */
export async function budgetViews(store: Store, day: number): Promise<BudgetView[]> {
  return store.read((tx) => listBudgetsIn(tx).map((budget) => viewOf(tx, budget, day)));
}

/** One of them; null: there is no such budget. */
export async function budgetView(store: Store, key: BudgetKey, day: number): Promise<BudgetView | null> {
  return (
    (await budgetViews(store, day)).find(({ budget }) => budget.scope === key.scope && budget.key === key.key) ?? null
  );
}

function viewOf(tx: Tx, budget: BudgetRow, day: number): BudgetView {
  const parked_count = parkedIn(tx, budget).length;
  return { ...readSpent(tx, budget, day), name: nameOf(tx, budget), parked_count, is_over: isOver(tx, budget) };
}

function isOver(tx: Tx, { scope, key }: BudgetKey): boolean {
  if (scope === 'global' || scope === 'profile') return false;
  const sql =
    scope === 'run'
      ? "SELECT 1 FROM runs WHERE id = :key AND status = 'active'"
      : 'SELECT 1 FROM sessions WHERE id = :key AND ended_at IS NULL';
  return tx.get(sql, { key }) === null;
}

/** Whom this budget has parked, oldest first. */
export async function parkedBy(store: Store, key: BudgetKey): Promise<SessionRow[]> {
  return store.read((tx) => parkedIn(tx, key));
}

function parkedIn(tx: Tx, { scope, key }: BudgetKey): SessionRow[] {
  return tx.all<SessionRow>(
    `SELECT * FROM sessions WHERE ended_at IS NULL AND state = 'parked' AND parked_reason = 'budget'
       AND parked_evidence ->> '$.scope' = :scope AND parked_evidence ->> '$.key' = :key ORDER BY created_at, id`,
    { scope, key },
  );
}
