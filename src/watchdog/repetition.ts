/** A row of tool calls that comes again and again: `period` calls, `times` in a row. */
export interface Repetition {
  period: number;
  times: number;
}

/** One that was seen in a turn. */
export interface SeenRepetition extends Repetition {
  /** When its newest call was answered. */
  last_at: number;
}

/** The longest cycle that is looked for: A B C D A B C D … */
const MAX_PERIOD = 4;

/** How many calls, newest last, are enough to judge by `loop_repeats`. */
export function callsNeeded(loop_repeats: number): number {
  return 2 * loop_repeats + MAX_PERIOD;
}

/**
 * How the newest calls repeat (fault 49). A call is known by one text for its tool, its input and its answer; null is a
 * call that cannot be compared and equals none. The shortest period wins among those that cover the same stretch: edits
 * that undo each other are a cycle of two. `null`: the last call is not the second of its kind.
 */
export function repetitionOf(calls: readonly (string | null)[]): Repetition | null {
  let best: Repetition | null = null;
  for (let period = 1; period <= MAX_PERIOD; period += 1) {
    const times = timesOf(calls, period);
    if (times >= 2 && (best === null || period * times > best.period * best.times)) best = { period, times };
  }
  return best;
}

function timesOf(calls: readonly (string | null)[], period: number): number {
  let same = 0;
  for (let at = calls.length - 1; at - period >= 0; at -= 1) {
    const call = calls[at];
    if (call === null || call !== calls[at - period]) break;
    same += 1;
  }
  return Math.floor(same / period) + 1;
}

/**
 * Do the calls that wait for an answer go on with the cycle? `uses` are the answered ones, newest last. Another call is
 * something new, and how long it takes says nothing about the calls before it.
 */
export function goesOn(
  { period }: Repetition,
  uses: readonly (string | null)[],
  open: readonly (string | null)[],
): boolean {
  return open.every((use, i) => use !== null && use === uses[uses.length - period + (i % period)]);
}

/** Is that a loop? One call alone needs `loop_repeats` in a row, a longer cycle twice as many calls. */
export function isLoop(repetition: Repetition | null, loop_repeats: number): boolean {
  if (repetition === null) return false;
  const { period, times } = repetition;
  return period === 1 ? times >= loop_repeats : period * times >= 2 * loop_repeats;
}
