import { AppError } from '../model/error.ts';
import type { ExpandedStep } from '../model/plan.ts';
import type { FailureCause, StepRow } from '../model/plan-step.ts';
import type { KnownFact, PlanView, StepSession } from '../model/plan-view.ts';
import type { Deps } from '../session/deps.ts';
import type { Place } from '../session/sling.ts';
import { noteHeldPools } from '../store/plan-pool.ts';
import { moveStep, type TryKey } from '../store/plan-step.ts';
import { newSight, type PlanSight } from '../store/plan-view.ts';

/** What is remembered of a plan from look to look; nothing of it is missed when it is lost. */
export interface PlanMemory {
  sight: PlanSight;
  /** By step: what was parsed before. */
  specs: Map<string, ExpandedStep>;
  facts: Map<string, KnownFact>;
  /** Sessions whose changes could not be counted. */
  uncounted: Set<string>;
  /** Where its sessions are started, and when that was looked at (monotonic). */
  place: { at: number; place: Promise<Place> } | null;
  /** Pools that held a step back when somebody looked last, as one text; null: nobody has looked. */
  held: string | null;
}

export function newMemory(): PlanMemory {
  return { sight: newSight(), specs: new Map(), facts: new Map(), uncounted: new Set(), place: null, held: null };
}

/** A plan at one instant, its steps as the writes so far have left them. */
export interface Scene {
  deps: Deps;
  plan: PlanView['plan'];
  /** In their order. */
  rows: Map<string, StepRow>;
  /** By id. */
  sessions: ReadonlyMap<string, StepSession>;
  memory: PlanMemory;
  now: number;
}

export function sceneOf(deps: Deps, view: PlanView, memory: PlanMemory, now: number): Scene {
  return {
    ...{ deps, plan: view.plan, memory, now },
    rows: new Map(view.steps.map((row) => [row.step_id, row])),
    sessions: new Map(view.sessions.map((session) => [session.id, session])),
  };
}

export function rowOf({ rows }: Scene, step_id: string): StepRow {
  const row = rows.get(step_id);
  if (row === undefined) throw new Error(`there is no step ${step_id}`);
  return row;
}

export function specOf({ memory }: Scene, row: StepRow): ExpandedStep {
  const spec = memory.specs.get(row.step_id) ?? (JSON.parse(row.spec_json) as ExpandedStep);
  memory.specs.set(row.step_id, spec);
  return spec;
}

export function keyOf({ plan_id, step_id, round }: StepRow, { now }: Scene): TryKey & { now: number } {
  return { plan_id, step_id, round, now };
}

/** Notes how a write has left a step; false when there was none because somebody was first. */
export function noted({ rows }: Scene, row: StepRow | null): boolean {
  if (row !== null) rows.set(row.step_id, row);
  return row !== null;
}

/** Pools that hold a step back, which the report tells of; only what has changed is written. */
export async function noteHeld({ deps, plan, memory, now }: Scene, held: readonly string[]): Promise<void> {
  const seen = [...held].sort().join('\n');
  if (seen === memory.held) return;
  await noteHeldPools(deps.store, { plan_id: plan.id, held, now });
  memory.held = seen;
}

/** Ends a step that cannot go on as it was decided. Always false: what was decided on top of it is void. */
export async function failStep(scene: Scene, row: StepRow, outcome: FailureCause, reason: string): Promise<false> {
  noted(scene, await moveStep(scene.deps.store, { ...keyOf(row, scene), to: 'failed', outcome, reason }));
  return false;
}

/** A refusal that trying again would only repeat, as opposed to a full disk, a busy store or the end of this process. */
export function refusalOf(error: unknown): AppError | null {
  const passes = ['bug', 'unavailable', 'parked', 'interrupted'];
  return error instanceof AppError && !passes.includes(error.kind) ? error : null;
}
