import {
  BUDGET_SCOPES,
  type BudgetRow,
  type BudgetScope,
  budgetText,
  EVERY_DAY,
  isDaily,
  percentSpent,
  raiseCommand,
  type Spending,
  spendingText,
} from '../model/budget.ts';
import { AppError } from '../model/error.ts';
import type { Allowance } from '../model/plan.ts';
import type { SessionRow } from '../model/session.ts';
import type { Store, Tx } from './store.ts';

export interface BudgetKey {
  scope: BudgetScope;
  key: string;
}

/** In the order of the scopes, then by key. */
export function listBudgetsIn(tx: Tx): BudgetRow[] {
  return BUDGET_SCOPES.flatMap((scope) =>
    tx.all<BudgetRow>('SELECT * FROM budgets WHERE scope = :scope ORDER BY key', { scope }),
  );
}

/** Sets what a budget bounds; null: that side has no bound. What was told of the old one may be told again. */
export async function setBudget(store: Store, input: NewBudget): Promise<BudgetRow> {
  return store.write((tx) => setBudgetIn(tx, input));
}

type NewBudget = BudgetKey & { cost_micros: number | null; tokens: number | null; now: number };

/** The same inside another transaction. */
export function setBudgetIn(tx: Tx, input: NewBudget): BudgetRow {
  const row = tx.get<BudgetRow>(
    `INSERT INTO budgets (scope, key, cost_micros, tokens, created_at, updated_at)
       VALUES (:scope, :key, :cost_micros, :tokens, :now, :now)
       ON CONFLICT (scope, key) DO UPDATE SET cost_micros = excluded.cost_micros, tokens = excluded.tokens,
         alerted_percent = 0, updated_at = excluded.updated_at
       RETURNING *`,
    { ...input },
  );
  if (row === null) throw new Error('an upserted row is returned');
  return row;
}

/**
 * Adds to a bound that exists, in one write, so that two people's raises both count (I18). Thresholds that are still behind
 * it are not told again, but that it is spent. `day`: midnight, for the budgets of a day. Throws `budget_not_found` (4) when
 * it does not exist, or has no bound on a side that is raised.
 */
export async function raiseBudget(
  store: Store,
  input: BudgetKey & { cost_micros: number; tokens: number; day?: number; now: number },
): Promise<BudgetRow> {
  const { day = 0, ...more } = input;
  return store.write((tx) => {
    const row = tx.get<BudgetRow>(
      `UPDATE budgets SET cost_micros = cost_micros + :cost_micros, tokens = tokens + :tokens,
         raised_count = raised_count + 1, updated_at = :now
       WHERE scope = :scope AND key = :key AND (:cost_micros = 0 OR cost_micros IS NOT NULL)
         AND (:tokens = 0 OR tokens IS NOT NULL) RETURNING *`,
      { ...more },
    );
    if (row === null) throw notRaised(input, readBudget(tx, input));
    const told = Math.min(Math.floor(readSpent(tx, row, day).percent), 99);
    if (row.alerted_percent <= told) return row;
    const known = { scope: row.scope, key: row.key, alerted_percent: told };
    tx.run('UPDATE budgets SET alerted_percent = :alerted_percent WHERE scope = :scope AND key = :key', known);
    return { ...row, ...known };
  });
}

function notRaised({ scope, key, tokens }: BudgetKey & { tokens: number }, row: BudgetRow | null): AppError {
  const preserved = 'nothing was changed';
  const of = scope === 'global' ? 'the day' : `${scope} ${key}`;
  if (row === null)
    return new AppError('not_found', 'budget_not_found', `There is no budget of ${of}.`, {
      ...{ hint: '`drover budget list` shows what is bounded.', preserved },
    });
  const side = tokens > 0 && row.tokens === null ? 'tokens' : 'dollars';
  return new AppError('not_found', 'budget_not_found', `The budget of ${of} has no bound in ${side}.`, {
    ...{ hint: '`drover budget set` gives it one; both sides have to be named then.', preserved },
  });
}

/** Takes a budget away; null: there was none. */
export async function removeBudget(store: Store, { scope, key }: BudgetKey): Promise<BudgetRow | null> {
  return store.write((tx) =>
    tx.get<BudgetRow>('DELETE FROM budgets WHERE scope = :scope AND key = :key RETURNING *', { scope, key }),
  );
}

/** By scope and key. Null: there is none. */
export function readBudget(tx: Tx, { scope, key }: BudgetKey): BudgetRow | null {
  return tx.get<BudgetRow>('SELECT * FROM budgets WHERE scope = :scope AND key = :key', { scope, key });
}

const sums = (of: string) =>
  `coalesce(sum(${of}cost_micros), 0) AS cost_micros, coalesce(sum(${of}input_tokens + ${of}output_tokens), 0) AS tokens`;
/** A turn counts on every day it has run on: one that runs over midnight would escape both bounds otherwise. */
const ON_DAY = '(t.ended_at >= :day OR t.ended_at IS NULL)';

/** Every session, live or not, stalled ones too (E-122, CX-21); `day` is the midnight at which the day began. */
function spentIn(tx: Tx, { scope, key }: BudgetKey, day: number): Spending {
  const [sql, params] = {
    global: [`SELECT ${sums('t.')} FROM turns AS t WHERE ${ON_DAY}`, { day }],
    run: [`SELECT ${sums('')} FROM sessions WHERE run_id = :key`, { key }],
    profile: [
      `SELECT ${sums('t.')} FROM turns AS t JOIN sessions AS s ON s.id = t.session_id
       WHERE ${ON_DAY} AND s.profile_name = :key`,
      { key, day },
    ],
    session: [`SELECT ${sums('')} FROM sessions WHERE id = :key`, { key }],
  }[scope] as [string, Record<string, string | number>];
  return tx.get<Spending>(sql, params) ?? { cost_micros: 0, tokens: 0 };
}

/** How far a budget is spent. */
export interface Spent {
  budget: BudgetRow;
  spent: Spending;
  percent: number;
}

export function readSpent(tx: Tx, budget: BudgetRow, day: number): Spent {
  const spent = spentIn(tx, budget, day);
  return { budget, spent, percent: percentSpent(budget, spent) ?? 0 };
}

/** The thresholds (percent) that are crossed and were not told since the budget was set or raised, or its day began. */
export function newlyCrossed({ budget, percent }: Spent, thresholds: readonly number[], day: number): number[] {
  const isNewDay = isDaily(budget.scope) && budget.updated_at < day;
  const told = isNewDay ? 0 : budget.alerted_percent;
  return thresholds.filter((each) => each <= percent && each > told);
}

/** Notes that these thresholds were told: each is told once, to one caller. */
export function noteCrossed(tx: Tx, { scope, key }: BudgetKey, crossed: readonly number[], now: number): void {
  tx.run('UPDATE budgets SET alerted_percent = :highest, updated_at = :now WHERE scope = :scope AND key = :key', {
    ...{ highest: Math.max(...crossed), now, scope, key },
  });
}

/** Whose budgets are asked for. */
export type Spender = Pick<SessionRow, 'id' | 'run_id' | 'profile_name'>;

/** Every scope that applies to a session; whether there is a budget is another matter. */
export function scopesOf({ id, run_id, profile_name }: Spender): BudgetKey[] {
  const keys = { global: EVERY_DAY, run: run_id, profile: profile_name, session: id };
  return BUDGET_SCOPES.flatMap((scope) => {
    const key = keys[scope];
    return key === null ? [] : [{ scope, key }];
  });
}

/** One row, 2 µs: most homes have no budget. */
export function hasBudget(tx: Tx): boolean {
  return tx.get("SELECT 1 FROM budgets WHERE scope > '' LIMIT 1") !== null;
}

/** The first spent budget of a session, in the order of the scopes; null: it may go on. */
export function firstSpent(tx: Tx, spender: Spender, day: number): Spent | null {
  if (!hasBudget(tx)) return null;
  for (const key of scopesOf(spender)) {
    const budget = readBudget(tx, key);
    if (budget === null) continue;
    const found = readSpent(tx, budget, day);
    if (found.percent >= 100) return found;
  }
  return null;
}

/** What people call the run or session of a budget. */
export function nameOf(tx: Tx, { scope, key }: BudgetKey): string {
  if (scope !== 'run' && scope !== 'session') return key;
  const sql = scope === 'run' ? 'SELECT name FROM runs WHERE id = :key' : 'SELECT name FROM sessions WHERE id = :key';
  return tx.get<{ name: string }>(sql, { key })?.name ?? key;
}

/** Throws `budget_spent` (3) with the command that raises it: nothing starts without a budget. */
export function refuseSpent(tx: Tx, session: SessionRow, day: number): void {
  const found = firstSpent(tx, session, day);
  if (found === null) return;
  const { budget, spent } = found;
  const name = nameOf(tx, budget);
  const command = raiseCommand({ budget, name, spent });
  const what = budgetText(budget.scope, name);
  throw new AppError(
    'refused',
    'budget_spent',
    `${what[0]?.toUpperCase()}${what.slice(1)} is spent: ${spendingText(budget, spent, 100)}.`,
    {
      hint: `Raise it first: ${command}`,
      preserved: 'nothing was changed',
      recovery_commands: [command, `drover resume ${session.name}`],
      data: { scope: budget.scope, key: budget.key, spent, bound: boundOf(budget) },
    },
  );
}

export function boundOf({ cost_micros, tokens }: BudgetRow): Allowance {
  return { cost_micros, tokens };
}
