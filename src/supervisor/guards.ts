import { ConflictGuard } from '../guard/conflicts.ts';
import { advancePools } from '../guard/pools.ts';
import type { Deps } from '../session/deps.ts';

/** What may not go on is asked before anything is started: pools, and files that two sessions change. */
export class Guards {
  readonly #deps: Deps;
  readonly #conflicts: ConflictGuard;

  /** `begin`: what may take its time is done beside. */
  constructor(deps: Deps, begin: (key: string, work: () => Promise<void>) => void) {
    this.#deps = deps;
    this.#conflicts = new ConflictGuard(deps, (work) => begin('predictions', work));
  }

  /** One look of each; returns lines for the log. */
  async look(now: number): Promise<string[]> {
    return [...(await advancePools(this.#deps, now)), ...(await this.#conflicts.look(now))];
  }
}
