import { BudgetGuard } from '../guard/budgets.ts';
import { ConflictGuard } from '../guard/conflicts.ts';
import { advancePools } from '../guard/pools.ts';
import type { Deps } from '../session/deps.ts';

/** What may not go on is asked before anything is started: pools, budgets, and files that two sessions change. */
export class Guards {
  readonly #deps: Deps;
  readonly #conflicts: ConflictGuard;
  readonly budgets: BudgetGuard;

  /** `begin`: what may take its time is done beside. */
  constructor(deps: Deps, begin: (key: string, work: () => Promise<void>) => void) {
    this.#deps = deps;
    this.budgets = new BudgetGuard(deps);
    this.#conflicts = new ConflictGuard(deps, (work) => begin('predictions', work));
  }

  /** One look of each; returns lines for the log. */
  async look(now: number): Promise<string[]> {
    const pools = await advancePools(this.#deps, now);
    return [...pools, ...(await this.budgets.look(now)), ...(await this.#conflicts.look(now))];
  }
}
