import { membersOf } from '../model/plan-expand.ts';
import type { Decision } from '../model/plan-facts.ts';
import { listIn } from '../model/plan-view.ts';
import { holdSession } from '../store/control.ts';
import { movePlan, setPlanWindow, stopPlan } from '../store/plan.ts';
import { reopenStep } from '../store/plan-reopen.ts';
import { fanOutStep, moveStep, retryStep } from '../store/plan-step.ts';
import { handedOnBy, takeOutputs } from './hand-on.ts';
import { failStep, keyOf, noted, rowOf, type Scene, specOf } from './scene.ts';
import { prepareStart } from './start.ts';

/**
 * Carries out decisions that do not depend on one another, so that their writes are asked for at the same moment, in their
 * order. Of each, whether it landed; `error`: what it threw.
 */
export async function carryOutTogether(
  scene: Scene,
  decisions: readonly Decision[],
): Promise<({ landed: boolean } | { error: unknown })[]> {
  const ends: Promise<{ landed: boolean } | { error: unknown }>[] = [];
  try {
    for (const decision of decisions) {
      // Sessions that are older go first: none is made ready before the one before it.
      const act = decision.do === 'start' ? await prepareStart(scene, decision) : () => carryOut(scene, decision);
      ends.push(
        act().then(
          (landed) => ({ landed }),
          (error: unknown) => ({ error }),
        ),
      );
    }
  } finally {
    await Promise.all(ends);
  }
  return Promise.all(ends);
}

/**
 * One guarded write. True when it landed as it was decided; else somebody was first, or the step went another way, and
 * whatever was decided after it has to be decided again.
 */
async function carryOut(scene: Scene, decision: Decision): Promise<boolean> {
  const { deps, plan, now } = scene;
  const { store } = deps;
  switch (decision.do) {
    case 'plan': {
      const { state: to, reason } = decision;
      const is_through = to === 'completed' || to === 'failed';
      return (await movePlan(store, { id: plan.id, to, reason, is_through, now })) !== null;
    }
    case 'stop': {
      const failed = [...scene.rows.values()].filter(({ state }) => state === 'failed').length;
      return stopPlan(store, { id: plan.id, cause: decision.cause, failed, now });
    }
    case 'window':
      return setPlanWindow(store, { id: plan.id, is_open: decision.is_open, now });
    case 'hold': {
      const reason = `the window of the plan ${plan.name} is closed`;
      return holdSession(store, { session_id: decision.session_id, reason, until: decision.until, now });
    }
    case 'start':
      return (await prepareStart(scene, decision))();
    case 'fan_out':
      return fanOut(scene, decision.step_id);
    default:
      return moveOn(scene, decision);
  }
}

type StepDecision = Exclude<Decision, { do: 'plan' | 'stop' | 'window' | 'hold' | 'start' | 'fan_out' }>;

async function moveOn(scene: Scene, decision: StepDecision): Promise<boolean> {
  const { store } = scene.deps;
  const row = rowOf(scene, decision.step_id);
  const key = keyOf(row, scene);
  switch (decision.do) {
    case 'retry': {
      const { cause: outcome, not_before_at } = decision;
      return noted(scene, await retryStep(store, { ...key, outcome, not_before_at }));
    }
    case 'park':
      return noted(scene, await moveStep(store, { ...key, to: 'parked', reason: decision.reason }));
    case 'unpark':
      return noted(scene, await moveStep(store, { ...key, to: 'running', reason: null }));
    case 'merge':
    case 'finish': {
      const { session_id } = decision;
      const taken = await takeOutputs(scene, row, session_id);
      if ('problem' in taken) return failStep(scene, row, 'failed', taken.problem);
      const to = decision.do === 'merge' ? 'merging' : 'done';
      // Of an earlier try that failed, or of a wait that is over.
      const cleared = { outcome: null, reason: null };
      return noted(scene, await moveStep(store, { ...key, ...cleared, to, session_id, ...taken }));
    }
    case 'fail': {
      const { outcome, reason } = decision;
      return noted(scene, await moveStep(store, { ...key, to: 'failed', outcome, reason }));
    }
    case 'skip':
      return noted(scene, await moveStep(store, { ...key, to: 'skipped', outcome: decision.outcome }));
    case 'reopen':
      return noted(scene, await reopenStep(store, key));
  }
}

/** The list is the answer of its step; items beyond the cap are counted and left out. */
async function fanOut(scene: Scene, step_id: string): Promise<boolean> {
  const group = rowOf(scene, step_id);
  const spec = specOf(scene, group);
  if (spec.foreach === null) throw new Error(`the step ${step_id} has no list`);
  const list = listIn((await handedOnBy(scene, rowOf(scene, spec.foreach.step))).answer);
  const items = 'items' in list ? list.items : [];
  const { max } = spec.foreach;
  const members = membersOf(spec, items.slice(0, max)).map((step) => ({ step, pool: group.pool }));
  const dropped = Math.max(0, items.length - max);
  return noted(scene, await fanOutStep(scene.deps.store, { ...keyOf(group, scene), members, dropped }));
}
