/**
 * Time is an argument. One operation reads the clock once and hands the instant down.
 *
 * `now()` is wall time in integer milliseconds (for rows and for people); `monotonic()` counts milliseconds that
 * never jump (for durations inside one process; never compared across processes).
 */
export interface Clock {
  now(): number;
  monotonic(): number;
  /** Resolves after `ms`, or at once when `signal` aborts (it does not reject). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
