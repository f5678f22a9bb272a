import { quoted } from './shell.ts';

/** What a budget bounds; in this order they are looked at. `global` and `profile`: what is spent in one day. */
export const BUDGET_SCOPES = ['global', 'run', 'profile', 'session'] as const;
export type BudgetScope = (typeof BUDGET_SCOPES)[number];

/** One row of `budgets`. Null: that side has no bound. */
export interface BudgetRow {
  scope: BudgetScope;
  /** Id of the run or session, name of the profile, `default` for `global`. */
  key: string;
  cost_micros: number | null;
  tokens: number | null;
  /** The highest threshold, in percent, that was told; 0: none. */
  alerted_percent: number;
  /** Times a person has raised it. */
  raised_count: number;
  created_at: number;
  updated_at: number;
}

export interface Spending {
  cost_micros: number;
  tokens: number;
}

/** How much of a budget is spent, in percent of the side that is nearer to its end; null: it bounds nothing (E-120). */
export function percentSpent(budget: Pick<BudgetRow, 'cost_micros' | 'tokens'>, spent: Spending): number | null {
  const share = (bound: number | null, used: number) => (bound === null || bound <= 0 ? null : (used / bound) * 100);
  const shares = [share(budget.cost_micros, spent.cost_micros), share(budget.tokens, spent.tokens)];
  const known = shares.filter((each) => each !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/** The key of the only global budget: every day has the same. */
export const EVERY_DAY = 'default';

/** Scopes whose spending begins anew at midnight. */
export function isDaily(scope: BudgetScope): boolean {
  return scope === 'global' || scope === 'profile';
}

/** `$1.20`, exact: at least two decimals, at most the six of a micro-dollar. */
export function moneyText(micros: number): string {
  const fraction = String(micros % 1_000_000).padStart(6, '0');
  return `$${Math.floor(micros / 1_000_000)}.${fraction.replace(/0{1,4}$/, '')}`;
}

/** `the budget of the run nightly`; `name` is what people call the run or session. */
export function budgetText(scope: BudgetScope, name: string): string {
  if (scope === 'global') return 'the budget of the day';
  return scope === 'profile' ? `the budget of the profile ${name} for the day` : `the budget of the ${scope} ${name}`;
}

/** `$1.20 of $1.00, 90 of 100 tokens`: what is bounded; with `at_least`, only sides that have come to that percentage. */
export function spendingText(budget: Pick<BudgetRow, 'cost_micros' | 'tokens'>, spent: Spending, at_least = 0): string {
  const has = (bound: number | null, used: number): bound is number =>
    bound !== null && (used / bound) * 100 >= at_least;
  const sides: string[] = [];
  if (has(budget.cost_micros, spent.cost_micros))
    sides.push(`${moneyText(spent.cost_micros)} of ${moneyText(budget.cost_micros)}`);
  if (has(budget.tokens, spent.tokens)) sides.push(`${spent.tokens} of ${budget.tokens} tokens`);
  return sides.join(', ');
}

/** The command that gives a spent budget so many times its bound more that something is left. */
export function raiseCommand({ budget, name, spent }: { budget: BudgetRow; name: string; spent: Spending }): string {
  const more = (bound: number, used: number) => bound * Math.max(1, Math.floor(used / bound));
  const { scope, cost_micros, tokens } = budget;
  const words = ['drover budget raise', scope, ...(scope === 'global' ? [] : [quoted(name)])];
  if (cost_micros !== null && spent.cost_micros >= cost_micros)
    words.push('--usd', moneyText(more(cost_micros, spent.cost_micros)).slice(1));
  if (tokens !== null && spent.tokens >= tokens) words.push('--tokens', String(more(tokens, spent.tokens)));
  return words.join(' ');
}
