import { AppError } from '../model/error.ts';
import { type DueDecision, due, type Occurrences, type ScheduleFact } from '../model/schedule.ts';
import { LIVE_STATES } from '../model/session.ts';
import { occurrencesOf, startOf } from '../plan/schedule.ts';
import { stopSession } from '../store/control.ts';
import { standingHalt } from '../store/halted.ts';
import { getPlan } from '../store/plan.ts';
import { cancelPlan } from '../store/plan-step.ts';
import {
  dueSchedules,
  type Fired,
  failSchedule,
  fireSchedule,
  nextScheduleAt,
  type ScheduleState,
} from '../store/schedule.ts';
import { listSessions } from '../store/session.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import type { Desk, DeskOptions } from './desk.ts';
import { passing } from './failure.ts';

/** Schedules of one pass. */
const LIMIT = 8;
/** Kinds of failures that the machine is the cause of, not the schedule: they pass. */
const PASSING: readonly string[] = ['unavailable', 'parked'];

/**
 * Fires what is due, once per due time whoever else looks and whatever is killed (I9): everything that is written is
 * guarded by the time that was due.
 */
export class ScheduleDesk implements Desk {
  readonly #options: DeskOptions;
  #next: number | null = null;
  #version = -1;
  /** A due time waits for the end of what was started before, which is seen by looking. */
  #hasWaiting = false;
  #isBusy = false;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  get wake_at(): number | null {
    return this.#next;
  }

  /** Schedules come from other processes: nothing is asked while none of these has written and nothing is due. */
  async look(now: number): Promise<void> {
    if (this.#isBusy) return;
    const { deps, begin, ring } = this.#options;
    const version = deps.store.dataVersion();
    const isDue = this.#next !== null && this.#next <= now;
    if (version === this.#version && !isDue && !this.#hasWaiting) return;
    this.#version = version;
    this.#next = await nextScheduleAt(deps.store);
    // When it is lifted, this is looked at again: what is due by then is caught up.
    if ((await standingHalt(deps.store)) !== null) return;
    if ((await this.#decide(now)).length === 0) return;
    this.#isBusy = true;
    begin('schedules', async () => {
      await this.#pass();
      this.#isBusy = false;
      ring();
    });
  }

  async #decide(now: number): Promise<Due[]> {
    const states = await dueSchedules(this.#options.deps.store, now);
    this.#hasWaiting = states.some(({ waiting }) => waiting.length > 0);
    const facts = new Map(states.map((state) => [state.schedule.id, factOf(state)]));
    const byId = new Map(states.map((state) => [state.schedule.id, state]));
    return due([...facts.values()], now, LIMIT).flatMap((decision) => {
      const state = byId.get(decision.schedule_id);
      const does = decision.release !== null || decision.entries.length > 0;
      const broken = facts.get(decision.schedule_id)?.broken() ?? null;
      return state === undefined || !does ? [] : [{ ...state, decision, broken }];
    });
  }

  async #pass(): Promise<void> {
    const { deps, stop } = this.#options;
    for (const each of await this.#decide(deps.clock.now())) if (!stop.aborted) await this.#carryOut(each);
  }

  /** A schedule that cannot start is written down and holds up no other one (CX-35, E-060). */
  async #carryOut(each: Due): Promise<void> {
    const { deps, log } = this.#options;
    const { schedule, decision } = each;
    try {
      const fired = await this.#fire(each);
      if (fired === null) return;
      const what = fired.session?.id ?? fired.plan_id;
      log(`schedule ${schedule.name}: ${what === null ? 'passed over' : `started ${what}`}`);
    } catch (error) {
      const failure = passing(error);
      if (failure !== null && PASSING.includes(failure.kind)) throw error;
      const text = failure?.message ?? `internal: ${String(error)}`;
      const row = await failSchedule(deps.store, { decision, error: text, now: deps.clock.now() });
      if (row !== null) log(`schedule ${schedule.name}: failed ${row.fail_count} times in a row: ${text}`);
      // It would meet every supervisor to come, if it were not written down first.
      if (failure === null) throw error;
    }
  }

  /** Everything that can fail comes before what is replaced is stopped, and that before the one write that starts. */
  async #fire({ schedule, decision, live, broken }: Due): Promise<Fired | null> {
    const { deps } = this.#options;
    const fires = decision.release !== null || decision.entries.some(({ state }) => state === 'fired');
    if (broken !== null && fires) throw broken;
    const start = fires ? await startOf(deps, schedule, readTextIfExists) : null;
    if (decision.replace) for (const one of live) await this.#end(one, schedule.name);
    return fireSchedule(deps.store, { decision, start, actor: 'supervisor', now: deps.clock.now() });
  }

  async #end({ session_id, plan_id }: ScheduleState['live'][number], name: string): Promise<void> {
    const { store, clock } = this.#options.deps;
    const reason = `replaced by the next run of the schedule ${name}`;
    const sessions = session_id === null ? [] : [session_id];
    if (plan_id !== null) {
      const ended = await cancelPlan(store, { id: plan_id, reason, now: clock.now() });
      const run_id = ended === null ? null : ((await getPlan(store, plan_id))?.run_id ?? null);
      // Those that its steps' sessions have started as well.
      const rest = run_id === null ? [] : await listSessions(store, { run_id, states: LIVE_STATES }, ['id']);
      sessions.push(...rest.map(({ id }) => id));
    }
    for (const id of sessions)
      await stopSession(store, { session_id: id, actor: 'supervisor', reason, now: clock.now() });
  }
}

interface Due extends ScheduleState {
  decision: DueDecision;
  /** Its expression or zone means nothing to this machine any more. */
  broken: AppError | null;
}

/** The expression is read when something is asked of it, which is not every time something waits. */
function factOf({ schedule, waiting, live, halted }: ScheduleState): ScheduleFact & { broken: () => AppError | null } {
  let known: Occurrences | null = null;
  let broken: AppError | null = null;
  const next = (after: number): number | null => {
    try {
      known ??= occurrencesOf(schedule);
      return known.next(after);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      broken = error;
      return null;
    }
  };
  return { schedule, waiting, halted, is_running: live.length > 0, occurrences: { next }, broken: () => broken };
}
