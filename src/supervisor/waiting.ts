/** Attempts in vain from one poll to the next, whatever the length of the queue; what is left over has its turn later. */
const MAX_VAIN = 64;
/** Who could not start is tried again after the first pause, and after twice as long each time up to the last. */
const PAUSE_MS = { first: 400, last: 32_000 };

/**
 * Who could not start a moment ago, and so need not be tried again yet: a queue of thousands must not cost an attempt
 * each, over and over. Times are monotonic milliseconds.
 */
export class Waiting {
  readonly #sessions = new Map<string, { until: number; pause_ms: number }>();
  readonly #shut = new Set<string>();
  #vain = 0;

  /** Repositories that have no room now, for any of their sessions. */
  get shut(): string[] {
    return [...this.#shut];
  }

  /** How many sessions are passed over; an upper bound. */
  get size(): number {
    return this.#sessions.size;
  }

  /** How many attempts are allowed before the next poll. */
  get tries(): number {
    return Math.max(0, MAX_VAIN - this.#vain);
  }

  has(session_id: string, now: number): boolean {
    return (this.#sessions.get(session_id)?.until ?? now) > now;
  }

  /** This one could not start, for a reason of its own. */
  add(session_id: string, now: number): void {
    const before = this.#sessions.get(session_id)?.pause_ms;
    const pause_ms = before === undefined ? PAUSE_MS.first : Math.min(before * 2, PAUSE_MS.last);
    this.#sessions.set(session_id, { until: now + pause_ms, pause_ms });
    this.#vain += 1;
  }

  /** No session of this repository can start. */
  close(repo_root: string): void {
    this.#shut.add(repo_root);
    this.#vain += 1;
  }

  /** It has started, or failed for good. */
  remove(session_id: string): void {
    this.#sessions.delete(session_id);
  }

  /** A turn has ended: there may be room again, and those that were in the way of one another go first by their age. */
  freed(): void {
    this.#shut.clear();
    for (const [id, { pause_ms }] of this.#sessions) if (pause_ms === PAUSE_MS.first) this.#sessions.delete(id);
  }

  /** Time has passed; true when somebody should be tried again. */
  polled(now: number): boolean {
    const wasShort = this.#shut.size > 0 || this.tries === 0;
    this.#shut.clear();
    this.#vain = 0;
    let isDue = false;
    for (const [id, { until }] of this.#sessions) {
      isDue ||= until <= now;
      // Started by now, or ended: nobody asks for it any more.
      if (now - until > PAUSE_MS.last) this.#sessions.delete(id);
    }
    return wasShort || isDue;
  }
}
