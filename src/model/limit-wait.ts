import type { Limit } from './harness.ts';

/** No window of a plan is longer than a week; an instant beyond that is a misreading, and waiting for it would be for ever. */
const WAIT_MS = { least: 1_000, most: 8 * 86_400_000 };
/** Nobody told when a used-up plan opens: asked again at least so often. */
export const GUESS_CAP_MS = 2 * 3_600_000;

/** Whole milliseconds between a second and eight days. */
export function boundedWait(wait_ms: number): number {
  return Math.min(Math.max(Math.ceil(wait_ms), WAIT_MS.least), WAIT_MS.most);
}

/** How long the provider asks to wait (an instant it names goes before a time); null when it does not say. */
export function toldWait({ resets_at, retry_after_ms }: Limit, now: number): number | null {
  return resets_at === null ? retry_after_ms : resets_at - now;
}

/** Nobody said for how long: `first_ms`, doubled for every time that went before, up to `cap_ms`. */
export function doubledWait(first_ms: number, times_before: number, cap_ms: number): number {
  return Math.min(first_ms * 2 ** Math.min(Math.max(times_before, 0), 20), cap_ms);
}
