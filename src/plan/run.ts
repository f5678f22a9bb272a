import type { PlanSettings } from '../model/plan.ts';
import { advance } from '../model/plan-advance.ts';
import type { Decision } from '../model/plan-facts.ts';
import { factsOf, type PlanView, type WorktreeSettings } from '../model/plan-view.ts';
import type { Deps } from '../session/deps.ts';
import { standingHalt } from '../store/halted.ts';
import { planView } from '../store/plan-view.ts';
import { quotaLeft } from '../store/quota.ts';
import { carryOutTogether } from './act.ts';
import { type Effect, effectsOf, withoutUncounted } from './effects.ts';
import { newMemory, noteHeld, type PlanMemory, type Scene, sceneOf } from './scene.ts';

/** Looks within one call; what is left after that is left to the next. */
const MAX_LOOKS = 8;
/** Sessions started within one call: each asks git, and whoever calls has others to look after. */
const MAX_STARTS = 16;

/** Decisions that are carried out at the same time. */
const MAX_BATCH = 8;

interface Advanced {
  /** When time alone changes something; null: only an event does. */
  wake_at: number | null;
  /** What the caller has to see to; named again as long as it is not done. */
  effects: Effect[];
  /** There may be something to put away, or to report. */
  has_leftovers: boolean;
  /** Turns in flight are to be ended. */
  has_held: boolean;
}

/**
 * Carries a plan on as far as it goes now (C-12, ARCHITECTURE §5 "plan run"): facts, `advance`, one guarded write per
 * decision, until nothing is left to decide. To resume is to call it again, whoever was killed where; two that call it at
 * the same time do everything once between them. Throws what passes by itself (`store_busy`, `disk_full`), and bugs.
 */
export async function advancePlan(
  deps: Deps,
  plan_id: string,
  now: number,
  memory: PlanMemory = newMemory(),
): Promise<Advanced> {
  const made: Decision[] = [];
  let done: Advanced = { wake_at: null, effects: [], has_leftovers: false, has_held: false };
  for (let looks = 1; looks <= MAX_LOOKS; looks += 1) {
    const view = await planView(deps.store, plan_id, memory.sight);
    if (view === null || view.plan.ended_at !== null) return { ...done, wake_at: null };
    // Asked after the view was taken: what a halt did to its sessions is no outcome of a step, it is gone with the halt.
    if ((await standingHalt(deps.store)) !== null) return { ...done, wake_at: null };
    const scene = sceneOf(deps, view, memory, now);
    const facts = factsOf(
      withoutUncounted(scene, view),
      memory.specs,
      await quotaOf(deps, view, now),
      now,
      await worktreesOf(deps, view),
      memory.facts,
    );
    const { decisions, wake_at, held_pools } = advance(facts, now);
    await noteHeld(scene, held_pools);
    const isThrough = await carryOutAll(scene, decisions, made);
    const has_held = made.some((decision) => decision.do === 'hold');
    done = { wake_at, effects: effectsOf(scene), has_leftovers: made.some(leavesSomething), has_held };
    if (isThrough) return done;
    if (hasStartedEnough(made)) break;
  }
  return { ...done, wake_at: now + 1 };
}

/** Asked for only when the plan's course depends on it. */
async function quotaOf({ store }: Deps, { plan }: PlanView, now: number): Promise<number | null> {
  const { stop_when } = JSON.parse(plan.settings_json) as PlanSettings;
  return stop_when.quota_left === null ? null : quotaLeft(store, plan.id, now);
}

/** Null as long as nobody wants a slot. */
async function worktreesOf(deps: Deps, { slots, plan }: PlanView): Promise<WorktreeSettings | null> {
  if (slots === null) return null;
  const { max_worktrees, worktree } = await deps.config_for(plan.repo_root);
  return { max: max_worktrees, by_default: worktree.by_default };
}

function hasStartedEnough(made: readonly Decision[]): boolean {
  return made.length >= MAX_STARTS && made.filter((decision) => decision.do === 'start').length >= MAX_STARTS;
}

/** Its end wants a report, an attempt that was not taken a place for its branch. */
function leavesSomething(decision: Decision): boolean {
  if (decision.do === 'plan') return decision.state === 'completed' || decision.state === 'failed';
  return decision.do === 'finish' && decision.archive.length > 0;
}

/** True when nothing is left to decide before something happens. What landed is added to `made`. */
async function carryOutAll(scene: Scene, decisions: readonly Decision[], made: Decision[]): Promise<boolean> {
  let isThrough = true;
  for (let i = 0; i < decisions.length; ) {
    if (decisions[i]?.do === 'start' && hasStartedEnough(made)) return false;
    const batch = batchAt(scene, decisions, i);
    i += batch.length;
    const ends = await carryOutTogether(scene, batch);
    made.push(...batch.filter((_, n) => hasLanded(ends[n])));
    for (const end of ends) if ('error' in end) throw end.error;
    if (!ends.every(hasLanded)) return false;
    if (batch.some((decision) => needsAnotherLook(scene, decision))) isThrough = false;
  }
  return isThrough;
}

const hasLanded = (end: { landed: boolean } | { error: unknown } | undefined) =>
  end !== undefined && 'landed' in end && end.landed;

/**
 * The next decisions that do not depend on one another, so that their writes share a commit: starts, and ends of single
 * steps that were done. Where a failure stops the plan, whoever comes after it waits for it.
 */
function batchAt({ plan, rows }: Scene, decisions: readonly Decision[], from: number): Decision[] {
  const first = decisions[from];
  if (first === undefined) return [];
  const { on_failure, stop_when } = JSON.parse(plan.settings_json) as PlanSettings;
  if (on_failure === 'stop' || stop_when.failed_steps !== null) return [first];
  const isSingle = (decision: Decision) =>
    decision.do === 'start' || (decision.do === 'finish' && rows.get(decision.step_id)?.kind === 'task');
  let to = from + 1;
  while (isSingle(first) && to < from + MAX_BATCH && decisions[to]?.do === first.do && isSingle(decisions[to] ?? first))
    to += 1;
  return decisions.slice(from, to);
}

function needsAnotherLook(scene: Scene, decision: Decision): boolean {
  if (['fan_out', 'stop', 'reopen'].includes(decision.do)) return true;
  return decision.do === 'finish' && isListOf(scene, decision.step_id);
}

/** What comes of a list shows only when the answer is read again. */
function isListOf({ rows, memory }: Scene, step_id: string): boolean {
  for (const row of rows.values()) {
    if (row.kind === 'group' && row.state === 'pending' && memory.specs.get(row.step_id)?.foreach?.step === step_id)
      return true;
  }
  return false;
}
