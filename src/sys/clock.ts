import type { Clock } from '../model/clock.ts';

/** The longest delay a timer can hold; a longer one would fire at once. */
const MAX_DELAY_MS = 2_147_483_647;

/** The machine's clock and timers. Everything else takes a `Clock` as an argument (law: time is an argument). */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    const until = performance.now() + ms;
    for (let left = ms; left > 0 && !signal?.aborted; left = until - performance.now()) {
      await nap(Math.min(left, MAX_DELAY_MS), signal);
    }
  },
};

/** Stands still, for who must not return before something is done: a line that is printed. */
export function standStill(ms: number): void {
  Bun.sleepSync(ms);
}

function nap(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    signal?.addEventListener('abort', wake, { once: true });
  });
}

/** Resolves when the event loop has gone round once: what everybody who is ready has to say by then, is said. */
export function nextRound(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
