import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import type { Ended } from '../store/control.ts';
import { haltedSteps, type Lifted, liftHalt } from '../store/halt.ts';
import { standingHalt } from '../store/halted.ts';
import { getSession } from '../store/session.ts';
import { resume } from './control.ts';
import type { Deps } from './deps.ts';
import type { Caller } from './identity.ts';

/** A session of a plan that the halt had stopped: it goes on, or cannot. */
export interface StepBack {
  row: SessionRow;
  ended: Ended | null;
  error: AppError | null;
}

/**
 * Lifts the halt that stands; null: none does. The sessions that it stopped in the middle of a step are put back to work
 * first and the plans after them, so that whoever dies in between leaves a halt that can be lifted again, and no plan ever
 * takes a session that was stopped by it for one that has failed.
 */
export async function lift(
  deps: Deps,
  caller: Caller,
  options: { text?: string | undefined; force?: boolean },
): Promise<(Lifted & { steps: StepBack[] }) | null> {
  if ((await standingHalt(deps.store)) === null) return null;
  const steps: StepBack[] = [];
  const patiently = patience(deps);
  for (const id of await haltedSteps(deps.store)) {
    const row = await getSession(deps.store, id);
    if (row !== null) steps.push(await stepBack(row, () => patiently(() => resume(deps, caller, row, options))));
  }
  const lifted = await liftHalt(deps.store, { by: caller.name, now: deps.clock.now() });
  return lifted === null ? null : { ...lifted, steps };
}

async function stepBack(row: SessionRow, work: () => Promise<Ended>): Promise<StepBack> {
  try {
    return { row, ended: await work(), error: null };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== 'refused') throw error;
    return { row, ended: null, error };
  }
}

/** How long the ends of turns that were just stopped or paused may take, all together. */
const PATIENCE_MS = 10_000;

/** Waits for the end of a turn that is on its way, instead of refusing because of it; all its calls share one patience. */
export function patience({ clock }: Pick<Deps, 'clock'>): <T>(work: () => Promise<T>) => Promise<T> {
  const until = clock.monotonic() + PATIENCE_MS;
  return async (work) => {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const isEnding = error instanceof AppError && error.code === 'turn_still_ending';
        if (!isEnding || clock.monotonic() >= until) throw error;
        await clock.sleep(50);
      }
    }
  };
}
