/**
 * Pause between two looks at busy streams: lets many small writes become one transaction. It grows with the price of a
 * look, so that looking takes at most a fiftieth of our time, and shrinks to the least while we are behind.
 */
const REST_MS = { least: 1, normal: 20, most: 200 };
const REST_PER_WORK = 50;

/** How long writes may gather before the next look; `since_ms` have passed since the last one, which took `cost_ms`. */
export function restBetween(look: { is_behind: boolean; cost_ms: number; since_ms: number }): number {
  if (look.is_behind) return REST_MS.least;
  return Math.min(Math.max(REST_MS.normal, look.cost_ms * REST_PER_WORK), REST_MS.most) - look.since_ms;
}
