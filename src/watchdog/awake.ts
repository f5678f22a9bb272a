/** A look that comes this much later than planned means that we did not run; a busy machine is late by less. */
const GAP_MS = 5_000;
/** Wall clock and monotonic clock may drift apart this far between two looks. */
export const JUMP_MS = 2_000;

/** `gap`: we did not run (SIGSTOP, swap, a debugger). `jump`: the wall clock was set, or the machine slept. */
export type Wakefulness = 'steady' | 'gap' | 'jump';

/**
 * Since when an observer has been looking without a break. Silence before that is nobody's fault, and an instant that a
 * jump of the wall clock put into another time proves nothing (fault 13).
 */
export class Awake {
  #since: number;
  #wall: number;
  #monotonic: number;

  constructor(wall: number, monotonic: number, since = wall) {
    this.#since = since;
    this.#wall = wall;
    this.#monotonic = monotonic;
  }

  /** Wall milliseconds. */
  get since(): number {
    return this.#since;
  }

  /** One look, which was planned to come `planned_ms` after the last one. */
  look(wall: number, monotonic: number, planned_ms: number, patience_ms = GAP_MS): Wakefulness {
    const passed = monotonic - this.#monotonic;
    const shift = wall - this.#wall - passed;
    this.#wall = wall;
    this.#monotonic = monotonic;
    const seen = Math.abs(shift) > JUMP_MS ? 'jump' : passed - planned_ms > patience_ms ? 'gap' : 'steady';
    if (seen !== 'steady') this.#since = wall;
    return seen;
  }
}
