import type { BudgetRow } from './budget.ts';
import type { ReportBudget, Spent } from './report.ts';
import type { ReportSessionRow, ReportTurnRow } from './report-rows.ts';
import { profileOf } from './session.ts';

/**
 * What turns have used together. Money adds up in whole micro-dollars; a turn that used tokens and has no price is told
 * apart, so that a sum is never taken for more than it is.
 */
export function spentOf(turns: readonly ReportTurnRow[]): Spent {
  const sum: Spent = {
    ...{ cost_micros: 0, is_estimated: false, unpriced_turns: 0, unpriced_tokens: 0, turns: turns.length },
    ...{ input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0 },
  };
  let known = 0;
  for (const turn of turns) {
    sum.input_tokens += turn.input_tokens;
    sum.output_tokens += turn.output_tokens;
    sum.cache_read_tokens += turn.cache_read_tokens;
    sum.cache_write_tokens += turn.cache_write_tokens;
    const used = turn.input_tokens + turn.output_tokens;
    if (turn.cost_micros !== null) {
      known += 1;
      sum.cost_micros = (sum.cost_micros ?? 0) + turn.cost_micros;
      if (turn.is_cost_estimated === 1) sum.is_estimated = true;
    } else if (used + turn.cache_read_tokens + turn.cache_write_tokens > 0) {
      sum.unpriced_turns += 1;
      sum.unpriced_tokens += used;
    }
  }
  return known === 0 && sum.unpriced_turns > 0 ? { ...sum, cost_micros: null } : sum;
}

/** Turns of each of these sessions, in their order. */
export function turnsBySession(turns: readonly ReportTurnRow[]): Map<string, ReportTurnRow[]> {
  return Map.groupBy(turns, ({ session_id }) => session_id);
}

/** As its harness called the model, else as it was asked for; null: nobody said. */
function modelOf(session: ReportSessionRow): string | null {
  return session.said_model ?? session.model ?? profileOf(session)?.model ?? null;
}

/** By what a session shares with others: largest first by tokens, then by name. */
function spentBy<Key extends string | null>(
  sessions: readonly ReportSessionRow[],
  turns: ReadonlyMap<string, readonly ReportTurnRow[]>,
  keyOf: (session: ReportSessionRow) => Key,
): { key: Key; spent: Spent }[] {
  return [...Map.groupBy(sessions, keyOf)]
    .map(([key, group]) => ({ key, spent: spentOf(group.flatMap(({ id }) => turns.get(id) ?? [])) }))
    .filter(({ spent }) => spent.turns > 0)
    .sort((a, b) => total(b.spent) - total(a.spent) || String(a.key).localeCompare(String(b.key)));
}

function total(spent: Spent): number {
  return spent.input_tokens + spent.output_tokens;
}

export function spentByModel(
  sessions: readonly ReportSessionRow[],
  turns: ReadonlyMap<string, readonly ReportTurnRow[]>,
): (Spent & { model: string | null })[] {
  return spentBy(sessions, turns, modelOf).map(({ key, spent }) => ({ model: key, ...spent }));
}

export function spentByPool(
  sessions: readonly ReportSessionRow[],
  turns: ReadonlyMap<string, readonly ReportTurnRow[]>,
): (Spent & { pool: string })[] {
  return spentBy(sessions, turns, ({ pool }) => pool).map(({ key, spent }) => ({ pool: key, ...spent }));
}

/** What bounds the run and its sessions, with what they have used of it. */
export function budgetsOf(
  budgets: readonly BudgetRow[],
  sessions: readonly ReportSessionRow[],
  turns: ReadonlyMap<string, readonly ReportTurnRow[]>,
  whole: Spent,
  run_name: string,
): ReportBudget[] {
  const names = new Map(sessions.map(({ id, name }) => [id, name]));
  return budgets.flatMap(({ scope, key, cost_micros, tokens, raised_count }) => {
    if (scope !== 'run' && scope !== 'session') return [];
    const spent = scope === 'run' ? whole : spentOf(turns.get(key) ?? []);
    return {
      ...{ scope, name: scope === 'run' ? run_name : (names.get(key) ?? key), cost_micros, tokens, raised_count },
      ...{ spent_micros: spent.cost_micros ?? 0, spent_tokens: total(spent) },
      unpriced_turns: spent.unpriced_turns,
    };
  });
}
