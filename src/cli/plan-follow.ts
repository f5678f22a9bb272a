import { AppError } from '../model/error.ts';
import type { PlanLogRow, PlanRow } from '../model/plan.ts';
import { waitsForPerson } from '../model/plan-stand.ts';
import type { PlanView } from '../model/plan-view.ts';
import { liveSessions, planLogAfter } from '../store/plan-list.ts';
import { newSight, planView } from '../store/plan-view.ts';
import type { Store } from '../store/store.ts';
import { systemClock } from '../sys/clock.ts';
import { onSignal } from '../sys/signals.ts';
import type { Context } from './context.ts';
import { changes, guard } from './follow.ts';
import { endCode, planLines } from './plan-lines.ts';
import { type Look, type Screen, screenFor } from './plan-screen.ts';
import { personWaits } from './plan-waits.ts';
import { OUTPUT_FAILED, ReaderGone } from './stream-out.ts';

const GUARD_MS = 2_000;
/** Between two looks at a plan that changes all the time. */
const PACE_MS = 150;
/** How long a plan has to stand still before that is believed: whoever moves it on may just be at it. */
const STILL_MS = 1_500;

/** `isPatient`: goes on without a word when nobody can read its output any more, for the sake of its exit code. */
export interface FollowOptions {
  isPatient: boolean;
}

/**
 * Shows a plan until it ends, or nothing of it goes on before a person acts. It only reads: Ctrl-C, a closed output and
 * `kill -9` leave the plan as it is. 0 all done, 1 some failed, 75 something is parked, 130 detached. Throws
 * `output_failed` (1) when its words could not be written, in the place of 0 or 130.
 */
export async function followPlan(
  context: Context,
  store: Store,
  plan: PlanRow,
  { isPatient }: FollowOptions,
): Promise<number> {
  const waiter = changes(context.home, store);
  const detach = new AbortController();
  const signals = onSignal(['SIGINT', 'SIGTERM'], () => {
    detach.abort();
    waiter.close();
  });
  try {
    return await new Follow(context, store, plan, waiter, detach.signal).run(isPatient);
  } finally {
    signals.close();
    waiter.close();
  }
}

class Follow {
  readonly #context: Context;
  readonly #store: Store;
  readonly #plan: PlanRow;
  readonly #waiter: { next(): Promise<void> };
  readonly #detached: AbortSignal;
  /** Null: nobody reads it any more. */
  #screen: Screen | null;
  /** Why it could not be written to. */
  #unwritten: AppError | null = null;
  #seen = 0;
  readonly #sight = newSight();
  #nextGuard = systemClock.monotonic() + GUARD_MS;
  /** Since when nothing has moved, and what it was. */
  #still: { since: number; what: string } | null = null;

  constructor(context: Context, store: Store, plan: PlanRow, waiter: { next(): Promise<void> }, detached: AbortSignal) {
    this.#context = context;
    this.#store = store;
    this.#plan = plan;
    this.#waiter = waiter;
    this.#detached = detached;
    this.#screen = screenFor(context);
  }

  async run(isPatient: boolean): Promise<number> {
    for (;;) {
      const start = systemClock.monotonic();
      const look = await this.#look();
      const code = await this.#judge(look.view);
      await this.#show((screen) => screen.show(look));
      if (code !== null) {
        await this.#show(async (screen) => {
          const waits = await personWaits(this.#store, this.#plan.run_id, systemClock.now());
          await screen.show({ ...look, news: await this.#news() });
          await screen.end(look, waits, code);
        });
        if (code === 0 && this.#unwritten !== null) throw this.#unwritten;
        return code;
      }
      if (this.#screen === null && !isPatient) {
        if (this.#unwritten !== null) throw this.#unwritten;
        return 130;
      }
      const cost = systemClock.monotonic() - start;
      await systemClock.sleep(Math.max(PACE_MS, 3 * cost), this.#detached);
      if (!this.#detached.aborted) await this.#waiter.next();
      if (this.#detached.aborted) {
        await this.#show((screen) => screen.detached(this.#plan));
        return 130;
      }
      await this.#guard(look.view);
    }
  }

  /** The lines first: the view is never older than they are. */
  async #look(): Promise<Look> {
    const news = await this.#news();
    const view = await planView(this.#store, this.#plan.id, this.#sight);
    if (view === null)
      throw new AppError('not_found', 'plan_not_found', `Plan not found: ${this.#plan.id}`, {
        hint: 'It was there a moment ago.',
      });
    const now = systemClock.now();
    return { news, view, lines: planLines(view, now), now };
  }

  async #news(): Promise<PlanLogRow[]> {
    const news = await planLogAfter(this.#store, this.#plan.id, this.#seen);
    this.#seen = news.at(-1)?.seq ?? this.#seen;
    return news;
  }

  /** An end is believed at once, a standstill when it lasts. */
  async #judge(view: PlanView): Promise<number | null> {
    const { state, updated_at, run_id } = view.plan;
    const code = endCode(state);
    if (code !== null) return code;
    const live = await liveSessions(this.#store, run_id);
    const isStill = waitsForPerson({ ...view, live }, systemClock.now());
    const what = JSON.stringify([state, updated_at, this.#seen, live]);
    const now = systemClock.monotonic();
    if (!isStill) this.#still = null;
    else if (this.#still?.what !== what) this.#still = { since: now, what };
    return this.#still !== null && now - this.#still.since >= STILL_MS ? 75 : null;
  }

  async #show(act: (screen: Screen) => Promise<void>): Promise<void> {
    if (this.#screen === null) return;
    try {
      await act(this.#screen);
    } catch (error) {
      if (!(error instanceof ReaderGone)) this.#noteUnwritten(error);
      this.#screen = null;
    }
  }

  /** Said at once: the plan may take all night. */
  #noteUnwritten(error: unknown): void {
    if (!(error instanceof AppError) || error.code !== OUTPUT_FAILED) throw error;
    console.error(error.message);
    this.#unwritten = error;
  }

  /** Nobody should wait for work that nobody does. */
  async #guard(view: PlanView): Promise<void> {
    if (systemClock.monotonic() < this.#nextGuard || view.plan.ended_at !== null) return;
    this.#nextGuard = systemClock.monotonic() + GUARD_MS;
    await guard(this.#context);
  }
}
