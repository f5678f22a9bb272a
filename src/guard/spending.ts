import { AppError } from '../model/error.ts';
import type { Allowance } from '../model/plan.ts';
import { resume } from '../session/control.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { demandPerson } from '../session/rights.ts';
import { type BudgetKey, raiseBudget, removeBudget, setBudget } from '../store/budget.ts';
import { parkedBy } from '../store/budget-list.ts';
import { blameBudget } from '../store/budget-park.ts';
import { startOfDay } from '../sys/day.ts';

/** Replaces what a budget bounds; a side that is not named has no bound. Throws `not_allowed` (3) for sessions. */
export async function changeBudget(deps: Deps, caller: Caller, key: BudgetKey, bound: Allowance): Promise<void> {
  demandPerson(caller, 'change a budget');
  await setBudget(deps.store, { ...key, ...bound, now: deps.clock.now() });
}

/** Who was put back to work, and who could not be, with the reason. */
export interface PutBack {
  resumed: string[];
  not_resumed: { name: string; error: AppError }[];
}

/**
 * Adds to what a budget bounds; with `resume` whom it has parked goes on, unless something else holds it.
 * Throws `not_allowed` (3) for sessions and `budget_not_found` (4).
 */
export async function raise(
  deps: Deps,
  caller: Caller,
  key: BudgetKey,
  request: { more: Allowance; resume: boolean },
): Promise<PutBack> {
  demandPerson(caller, 'change a budget');
  const { cost_micros, tokens } = request.more;
  const now = deps.clock.now();
  await raiseBudget(deps.store, {
    ...key,
    cost_micros: cost_micros ?? 0,
    tokens: tokens ?? 0,
    day: startOfDay(now),
    now,
  });
  const done: PutBack = { resumed: [], not_resumed: [] };
  for (const row of request.resume ? await parkedBy(deps.store, key) : []) {
    try {
      if ((await resume(deps, caller, row, {})).changed) done.resumed.push(row.name);
    } catch (error) {
      if (!(error instanceof AppError) || error.kind !== 'refused') throw error;
      // Raising that other one has to find it.
      if (error.code === 'budget_spent') await blameBudget(deps.store, row, startOfDay(now), now);
      done.not_resumed.push({ name: row.name, error });
    }
  }
  return done;
}

/** Takes a budget away. Throws `not_allowed` (3) for sessions and `budget_not_found` (4). */
export async function dropBudget(deps: Deps, caller: Caller, key: BudgetKey): Promise<void> {
  demandPerson(caller, 'change a budget');
  if ((await removeBudget(deps.store, key)) !== null) return;
  throw new AppError('not_found', 'budget_not_found', `There is no budget of ${key.scope} ${key.key}.`, {
    hint: '`drover budget list --all` shows what is bounded.',
    preserved: 'nothing was changed',
  });
}
