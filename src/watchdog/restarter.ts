import type { Clock } from '../model/clock.ts';
import { mayRestart, RESTARTS } from './intensity.ts';

/**
 * Brings another process back, at most so often: after that one word to a person, and nothing more until the window has
 * passed. Used by supervisor and watchdog for one another.
 */
export class Restarter {
  readonly #clock: Clock;
  readonly #start: () => Promise<void>;
  readonly #giveUp: () => Promise<void>;
  #instants: number[] = [];
  #hasGivenUp = false;

  constructor(options: { clock: Clock; start: () => Promise<void>; give_up: () => Promise<void> }) {
    this.#clock = options.clock;
    this.#start = options.start;
    this.#giveUp = options.give_up;
  }

  /** True when it was started. What `start` throws counts as an attempt and is passed on. */
  async restart(): Promise<boolean> {
    const now = this.#clock.monotonic();
    if (mayRestart(this.#instants, RESTARTS, now)) {
      this.#instants = [...this.#instants.slice(1 - RESTARTS.max), now];
      this.#hasGivenUp = false;
      await this.#start();
      return true;
    }
    if (this.#hasGivenUp) return false;
    this.#hasGivenUp = true;
    await this.#giveUp();
    return false;
  }
}
