import type { Desk, DeskOptions } from './desk.ts';
import { DispatchDesk } from './dispatches.ts';
import { PlanDesk } from './plans.ts';
import { ScheduleDesk } from './schedules.ts';

/** Plans, schedules and requests: what is started from them is dispatched like any other session. */
export class Night {
  readonly #desks: readonly Desk[];

  constructor(options: DeskOptions) {
    this.#desks = [new ScheduleDesk(options), new DispatchDesk(options), new PlanDesk(options)];
  }

  /** What was due by `after` has been looked at: no timer helps it, and one for it would never rest. */
  wakeAfter(after: number): number | null {
    const times = this.#desks.map(({ wake_at }) => wake_at).filter((at) => at !== null && at > after);
    return times.length === 0 ? null : Math.min(...(times as number[]));
  }

  async look(now: number): Promise<void> {
    for (const desk of this.#desks) await desk.look(now);
  }
}
