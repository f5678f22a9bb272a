/** Numbers from a seed, so that a bad day can be had again (mulberry32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A whole number from 0 to `sides - 1`. */
  roll(sides: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  }

  pick<Each>(list: readonly Each[]): Each | null {
    return list.length === 0 ? null : (list[this.roll(list.length)] ?? null);
  }

  /** Another stream of numbers that this one determines: for work that goes on beside ours. */
  fork(): Dice {
    return new Dice(this.roll(0x7fffffff));
  }
}
