import type { Clock } from '../model/clock.ts';
import { type Intensity, KILLS, mayRestart, RESTARTS, type Sighting, seenAgain } from './intensity.ts';

export interface RestarterOptions {
  clock: Clock;
  intensity: Intensity;
  /** What brings it back, or makes room for another one. */
  start: () => Promise<void>;
  give_up: () => Promise<void>;
}

/**
 * Brings another process back, so often in a row at most: after that one word to a person, and one more attempt after
 * each pause, until one of them has outlived the window. Used by supervisor and watchdog for one another.
 */
export class Restarter {
  readonly #options: RestarterOptions;
  /** Those of this episode. */
  #instants: number[] = [];
  #hasGivenUp = false;
  #isBusy = false;
  #sighting: Sighting | null = null;

  constructor(options: RestarterOptions) {
    this.#options = options;
  }

  /**
   * It was found well: how long it has been so without a break, in ms. A whole window ends the episode. A pid of its
   * own keeps one that was replaced between two looks from passing for one that lasts.
   */
  sawWell(pid: number): number {
    const { clock, intensity } = this.#options;
    this.#sighting = seenAgain(this.#sighting, pid, intensity, clock.monotonic());
    const lasted_ms = this.#sighting.last - this.#sighting.since;
    if (lasted_ms >= intensity.within_ms) {
      this.#instants = [];
      this.#hasGivenUp = false;
    }
    return lasted_ms;
  }

  /** It was found unwell, which alone is no reason to restart it. */
  sawUnwell(): void {
    this.#sighting = null;
  }

  /** True when it was started. What `start` throws counts as an attempt and is passed on; there is one at a time. */
  async restart(): Promise<boolean> {
    if (this.#isBusy) return false;
    this.#isBusy = true;
    try {
      return await this.#attempt();
    } finally {
      this.#isBusy = false;
    }
  }

  async #attempt(): Promise<boolean> {
    const { clock, intensity, start, give_up } = this.#options;
    const now = clock.monotonic();
    this.#sighting = null;
    if (mayRestart(this.#instants, intensity, now)) {
      this.#instants.push(now);
      await start();
      return true;
    }
    if (this.#hasGivenUp) return false;
    await give_up();
    this.#hasGivenUp = true;
    return false;
  }
}

/** The two ways to bring another process back, each with its own intensity and its own word to a person. */
export function restarters(of: {
  clock: Clock;
  start: () => Promise<void>;
  kill: () => Promise<void>;
  tell: (what: string, body: string) => Promise<void>;
}): { starter: Restarter; killer: Restarter } {
  const { clock, start, kill, tell } = of;
  return {
    starter: new Restarter({
      clock,
      intensity: RESTARTS,
      start,
      give_up: () =>
        tell('does not stay up', 'It ended again and again and is started rarely from now on, at last once an hour.'),
    }),
    killer: new Restarter({
      clock,
      intensity: KILLS,
      start: kill,
      give_up: () =>
        tell(
          'hangs again and again',
          `It was ended ${KILLS.max} times and the next one hung as well. It is left alone, and ended rarely from now on.`,
        ),
    }),
  };
}
