import type { PlanRow, PlanSettings } from '../model/plan.ts';
import { archiveAttempts, countAttempt } from '../plan/attempts.ts';
import { type Effect, STOPS_EARLY } from '../plan/effects.ts';
import { mergeStep } from '../plan/merge-step.ts';
import { writeReport } from '../plan/report.ts';
import { advancePlan } from '../plan/run.ts';
import { newMemory, type PlanMemory } from '../plan/scene.ts';
import { stop as stopSession } from '../session/control.ts';
import { listPlans } from '../store/plan.ts';
import { planPulse, spendingPulse } from '../store/plan-pulse.ts';
import { cancelPlan, sessionsCalledOff, sessionsToStop } from '../store/plan-step.ts';
import { unreportedPlans } from '../store/report.ts';
import { getSession } from '../store/session.ts';
import type { Desk, DeskOptions } from './desk.ts';
import { passing } from './failure.ts';
import { earliest } from './naps.ts';

/** A plan is looked at so often although nothing shows that anything has happened: no lost word may matter for ever. */
const REST_MS = 30_000;
/** After a failure that passes. */
const AGAIN_MS = 1_000;

interface OpenPlan {
  memory: PlanMemory;
  /** Money or tokens may decide about it. */
  is_bounded: boolean;
  /** What its course depends on, as it was when it was looked at; null: it has to be looked at. */
  pulse: string | null;
  wake_at: number | null;
  looked_at: number;
}

/** Carries plans on. Everything it knows can be rebuilt from the database. */
export class PlanDesk implements Desk {
  readonly #options: DeskOptions;
  readonly #plans = new Map<string, OpenPlan>();
  /** Effects that are under way, by key. */
  readonly #busy = new Set<string>();
  readonly #unreportable = new Set<string>();
  /** What ended plans and steps leave to do is done. */
  #isTidy = false;
  wake_at: number | null = null;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  async look(now: number): Promise<void> {
    const { store } = this.#options.deps;
    const common = await planPulse(store);
    const open = await listPlans(store, { open: true });
    const ids = new Set(open.map(({ id }) => id));
    // Somebody else has ended it, perhaps by cancelling it.
    for (const id of this.#plans.keys()) if (!ids.has(id) && this.#plans.delete(id)) this.#isTidy = false;
    this.wake_at = null;
    for (const plan of open) {
      const known = this.#known(plan);
      const pulse = known.is_bounded ? `${common} ${await spendingPulse(store, plan.run_id)}` : common;
      if (this.#isDue(known, pulse, now)) await this.#advance(plan, known, pulse, now);
      this.wake_at = earliest(this.wake_at, known.wake_at);
    }
    if (!this.#isTidy) await this.#tidy();
  }

  #known(plan: PlanRow): OpenPlan {
    const before = this.#plans.get(plan.id);
    if (before !== undefined) return before;
    const { budget, stop_when } = JSON.parse(plan.settings_json) as PlanSettings;
    const is_bounded = budget !== null || stop_when.cost_micros !== null;
    const known = { memory: newMemory(), is_bounded, pulse: null, wake_at: null, looked_at: 0 };
    this.#plans.set(plan.id, known);
    return known;
  }

  #isDue({ pulse, wake_at, looked_at }: OpenPlan, seen: string, now: number): boolean {
    const rested = now - looked_at;
    return pulse !== seen || (wake_at !== null && wake_at <= now) || rested < 0 || rested >= REST_MS;
  }

  async #advance(plan: PlanRow, known: OpenPlan, pulse: string, now: number): Promise<void> {
    const { deps, log } = this.#options;
    try {
      const { wake_at, effects, has_leftovers, has_held } = await advancePlan(deps, plan.id, now, known.memory);
      Object.assign(known, { pulse, wake_at, looked_at: now });
      for (const effect of effects) await this.#effect(effect, known);
      if (has_leftovers) this.#isTidy = false;
      if (has_held) this.#options.ring();
    } catch (error) {
      const failure = passing(error);
      if (failure === null) {
        // A bug in one plan is that plan's end. The others go on, and no supervisor to come meets it again.
        const reason = `internal: ${String(error)}`;
        log(`plan ${plan.name}: ${reason}`);
        await cancelPlan(deps.store, { id: plan.id, reason, now, as: 'failed' });
        this.#isTidy = false;
        return;
      }
      log(`plan ${plan.name}: ${failure.code}: ${failure.message}`);
      Object.assign(known, { pulse: null, wake_at: now + AGAIN_MS, looked_at: now });
    }
  }

  async #effect(effect: Effect, known: OpenPlan): Promise<void> {
    const { deps, stop } = this.#options;
    if (effect.do === 'stop') return this.#stop(effect.session_id, effect.reason);
    this.#beside(effect.key, known, () =>
      effect.do === 'count' ? countAttempt(deps, effect.session_id, known.memory) : mergeStep(deps, effect, stop),
    );
  }

  /** Once at a time. */
  #beside(key: string, known: OpenPlan, work: () => Promise<void>): void {
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    this.#options.begin(key, async () => {
      await work();
      this.#busy.delete(key);
      known.pulse = null;
      this.#options.ring();
    });
  }

  /** The loop ends the turn that is in flight. */
  async #stop(session_id: string, reason: string): Promise<void> {
    const row = await getSession(this.#options.deps.store, session_id);
    if (row === null || row.ended_at !== null) return;
    const { changed } = await stopSession(this.#options.deps, row, reason);
    if (changed) this.#options.log(`${row.name}: stopped: ${reason}`);
    this.#options.ring();
  }

  async #tidy(): Promise<void> {
    const { deps, log } = this.#options;
    for (const id of await sessionsToStop(deps.store)) await this.#stop(id, 'its plan was cancelled');
    for (const id of await sessionsCalledOff(deps.store)) await this.#stop(id, STOPS_EARLY);
    for (const line of await archiveAttempts(deps)) log(line);
    for (const id of await unreportedPlans(deps.store)) await this.#report(id);
    this.#isTidy = true;
  }

  /** What cannot be written because of a bug, nobody waits for: `drover report` shows the bug to whoever asks. */
  async #report(id: string): Promise<void> {
    const { deps, log } = this.#options;
    if (this.#unreportable.has(id)) return;
    try {
      if (await writeReport(deps, id)) log(`${id}: its report is written`);
    } catch (error) {
      if (passing(error) !== null) throw error;
      this.#unreportable.add(id);
      log(`${id}: its report could not be written: ${String(error)}`);
    }
  }
}
