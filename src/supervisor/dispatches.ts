import { runDispatches } from '../plan/dispatch.ts';
import { listDispatch, nextDispatches, releaseDispatch } from '../store/dispatch.ts';
import { standingHalt } from '../store/halted.ts';
import type { Desk, DeskOptions } from './desk.ts';

/** Requests of one pass. */
const LIMIT = 8;
/** A lead that has no room is asked again after the first pause, and after twice as long each time up to the last. */
const PAUSE_MS = { first: 1_000, last: 5_000 };

/** Processes requests. That a lead had no room is all it remembers, and that may be forgotten. */
export class DispatchDesk implements Desk {
  readonly #options: DeskOptions;
  readonly #pauses = new Map<string, { until: number; pause_ms: number }>();
  #version = -1;
  #isNew = true;
  #isBusy = false;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  get wake_at(): number | null {
    const times = [...this.#pauses.values()].map(({ until }) => until);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** Requests come from other processes: while none of these has written anything, there is none that is new. */
  async look(now: number): Promise<void> {
    if (this.#isBusy) return;
    const { deps, holder, begin, ring } = this.#options;
    if (this.#isNew) await releaseDispatch(deps.store, holder, now);
    this.#isNew = false;
    const version = deps.store.dataVersion();
    if (version === this.#version && this.#paused(now).size === this.#pauses.size) return;
    this.#version = version;
    if (!(await this.#hasFresh(now))) return;
    this.#isBusy = true;
    begin('requests', async () => {
      while (!this.#options.stop.aborted && (await this.#hasFresh(deps.clock.now()))) await this.#pass();
      this.#isBusy = false;
      ring();
    });
  }

  /** Those whose pause is not over. A clock that was put back ends it, or it would last as long again. */
  #paused(now: number): Set<string> {
    const still = [...this.#pauses].filter(([, { until, pause_ms }]) => until > now && until - now <= pause_ms);
    return new Set(still.map(([id]) => id));
  }

  async #hasFresh(now: number): Promise<boolean> {
    if ((await standingHalt(this.#options.deps.store)) !== null) return false;
    const pending = await listDispatch(this.#options.deps.store, { limit: LIMIT + this.#pauses.size });
    const ids = new Set(pending.map(({ id }) => id));
    for (const id of this.#pauses.keys()) if (!ids.has(id)) this.#pauses.delete(id);
    return (await nextDispatches(this.#options.deps.store, { later: this.#paused(now), limit: 1 })).length > 0;
  }

  async #pass(): Promise<void> {
    const { deps, holder, log } = this.#options;
    const later = this.#paused(deps.clock.now());
    const outcomes = await runDispatches(deps, { claimed_by: holder, actor: 'supervisor', limit: LIMIT, later });
    for (const { request_id, session_id, action } of outcomes) {
      if (action.type === 'deferred_saturated') {
        const before = this.#pauses.get(request_id)?.pause_ms;
        const pause_ms = before === undefined ? PAUSE_MS.first : Math.min(before * 2, PAUSE_MS.last);
        this.#pauses.set(request_id, { until: deps.clock.now() + pause_ms, pause_ms });
        continue;
      }
      this.#pauses.delete(request_id);
      const details = 'details' in action ? `: ${action.details}` : '';
      log(`${request_id}: ${action.type}${details}${session_id === null ? '' : `, ${session_id}`}`);
    }
  }
}
