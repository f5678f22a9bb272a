import type { Clock } from '../model/clock.ts';
import { type Intensity, mayRestart, type Sighting, seenAgain } from './intensity.ts';

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
