/** At most `max` restarts within `within_ms`. */
export interface Intensity {
  max: number;
  within_ms: number;
}

/** How often supervisor and watchdog bring one another back before they leave it to a person. */
export const RESTARTS: Intensity = { max: 5, within_ms: 60_000 };

/** May there be one more restart now? `instants`: when the earlier ones were, on a clock that never jumps. */
export function mayRestart(instants: readonly number[], { max, within_ms }: Intensity, now: number): boolean {
  return instants.filter((at) => now - at < within_ms).length < max;
}
