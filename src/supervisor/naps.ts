import type { Clock } from '../model/clock.ts';

/** What may end a pause early: every one ends when somebody rings, some also when a stream has grown. */
type Wake = 'ring' | 'news';

/** The pauses of the loop. */
export class Naps {
  readonly #clock: Clock;
  readonly #open = new Set<{ until: Wake; end: AbortController }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async take(ms: number, until: Wake): Promise<void> {
    const nap = { until, end: new AbortController() };
    this.#open.add(nap);
    await this.#clock.sleep(ms, nap.end.signal);
    this.#open.delete(nap);
  }

  end(what: Wake): void {
    for (const nap of this.#open) if (what === 'ring' || nap.until === 'news') nap.end.abort();
  }
}

/** The earlier one; null: neither comes. */
export function earliest(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}
