/** At most `max` restarts in a row of which none outlives `within_ms`; after that one per pause. */
export interface Intensity {
  max: number;
  within_ms: number;
  /** The pause begins with `within_ms` and doubles with every restart, up to this. */
  longest_ms: number;
}

/** How often supervisor and watchdog bring one another back before they leave it to a person. */
export const RESTARTS: Intensity = { max: 5, within_ms: 60_000, longest_ms: 3_600_000 };

/** The same for ending one that hangs: to see that takes minutes, so only one that answers for longer is well again. */
export const KILLS: Intensity = { ...RESTARTS, within_ms: 600_000 };

/**
 * May there be one more restart now? `instants`: when those of this episode were, oldest first, on a clock that never
 * jumps. An episode lasts until a restart has outlived the window: whoever asks leaves it out from then on.
 */
export function mayRestart(
  instants: readonly number[],
  { max, within_ms, longest_ms }: Intensity,
  now: number,
): boolean {
  const beyond = instants.length - max;
  if (beyond < 0) return true;
  const last = instants.at(-1);
  return last !== undefined && now - last >= Math.min(within_ms * 2 ** beyond, longest_ms);
}

/** One process that was seen well at every look since then. */
export interface Sighting {
  pid: number;
  since: number;
  last: number;
}

/** The same one as before, unless its pid is another or nobody looked for a whole window. */
export function seenAgain(before: Sighting | null, pid: number, { within_ms }: Intensity, now: number): Sighting {
  const isSame = before !== null && before.pid === pid && now - before.last < within_ms;
  return { pid, since: isSame ? before.since : now, last: now };
}
