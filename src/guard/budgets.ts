import type { SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import { budgetedUse, type Enforced, enforceBudgets, type SpenderUse } from '../store/budget-park.ts';
import { startOfDay } from '../sys/day.ts';

type Needs = Pick<Deps, 'store' | 'clock' | 'config_for' | 'home'>;

/** Parks what has spent its budget: in the middle of a turn, and before one starts (I18, E-120…E-126, CX-21). */
export class BudgetGuard {
  readonly #deps: Needs;
  /** What sessions had used when all their budgets were found to hold; forgotten with the session's turn. */
  #seen = new Map<string, string>();

  constructor(deps: Needs) {
    this.#deps = deps;
  }

  /** Before anything is started: whoever would go on without a budget to go on with. Returns lines for the log. */
  async look(now: number): Promise<string[]> {
    return (await this.#enforce(null, now)).lines;
  }

  /**
   * After these sessions' streams were read. True: somebody was parked, whose turn has to be ended. One small read while
   * nothing has a budget, two while nobody has used more than before.
   */
  async spent(sessions: readonly Pick<SessionRow, 'id'>[]): Promise<boolean> {
    if (sessions.length === 0) return false;
    const ids = sessions.map(({ id }) => id);
    const uses = await budgetedUse(this.#deps.store, ids);
    if (uses === null) {
      this.#seen.clear();
      return false;
    }
    const grown = uses.filter((use) => this.#seen.get(use.id) !== markOf(use));
    if (grown.length === 0) return false;
    const { parked, is_spent } = await this.#enforce(grown, this.#deps.clock.now());
    // Whoever was about to end well is asked again: it may go on after all.
    if (!is_spent) this.#remember(grown);
    return parked.length > 0;
  }

  async #enforce(spenders: readonly SpenderUse[] | null, now: number): Promise<Enforced> {
    const { store, config_for, home } = this.#deps;
    // Money is counted over all repositories, so the user's settings decide.
    const { alert_percent } = (await config_for(home)).budget;
    return enforceBudgets(store, { spenders, day: startOfDay(now), thresholds: [...alert_percent, 100], now });
  }

  #remember(uses: readonly SpenderUse[]): void {
    if (this.#seen.size > REMEMBERED) this.#seen.clear();
    for (const use of uses) this.#seen.set(use.id, markOf(use));
  }
}

/** Sessions whose usage is remembered; the next flush asks for all of them again when there are more. */
const REMEMBERED = 4_096;

function markOf({ input_tokens, output_tokens, cost_micros }: SpenderUse): string {
  return `${input_tokens} ${output_tokens} ${cost_micros}`;
}
