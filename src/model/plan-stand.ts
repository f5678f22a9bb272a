import type { ExpandedStep, PlanRow } from './plan.ts';
import type { StepRow } from './plan-step.ts';
import type { PoolRow } from './pool.ts';
import type { SessionRow } from './session.ts';

/** A session of a plan's run that has not ended, children included. */
export type LiveSession = Pick<
  SessionRow,
  'id' | 'state' | 'resume_at' | 'parked_pool' | 'parent_id' | 'next_turn_at' | 'turn'
> & {
  /** Null: it belongs to no step. */
  step_id: string | null;
  /** It has asked a person, who has not answered. */
  is_asking: boolean;
};

/** How a plan stands at one instant. */
export interface PlanStand {
  plan: Pick<PlanRow, 'state' | 'is_window_open'>;
  steps: readonly Pick<StepRow, 'step_id' | 'state' | 'kind' | 'not_before_at' | 'spec_json' | 'pool'>[];
  live: readonly LiveSession[];
  pools: readonly Pick<PoolRow, 'name' | 'state' | 'opens_at' | 'retry_at'>[];
}

/**
 * Nothing of a plan that has not ended goes on before a person acts: it is parked, or whoever lives waits for a person and
 * nothing is merged or begins at a time. The report reads PARKED by it, and `plan run` ends with 75. What is just about to
 * move looks like that for an instant.
 */
export function waitsForPerson(stand: PlanStand, now: number): boolean {
  const { plan, steps, live } = stand;
  if (plan.state === 'parked') return true;
  const parked = new Set(steps.filter(({ state }) => state === 'parked').map(({ step_id }) => step_id));
  const isHeld = live.every((session) => isHeldByPerson(session, stand, parked));
  if (!isHeld || steps.some(({ state }) => state === 'merging')) return false;
  if (plan.state === 'paused') return true;
  return plan.state === 'active' && live.length > 0 && !isComing(stand, now);
}

function isHeldByPerson(session: LiveSession, { plan, live, pools }: PlanStand, parked: ReadonlySet<string>): boolean {
  const { id, state, resume_at, parked_pool, next_turn_at, step_id, is_asking, turn } = session;
  // It has no slot for its worktree, else its step would be running.
  if (state === 'queued' && step_id !== null && parked.has(step_id)) return true;
  // A plan that is paused lets none begin.
  if (state === 'queued') return step_id !== null && turn === 0 && plan.state === 'paused';
  // One that rests for its children goes on with them, and they are looked at as well.
  if (state === 'idle') return next_turn_at === null && (is_asking || live.some(({ parent_id }) => parent_id === id));
  if (state !== 'parked' || resume_at !== null) return false;
  const pool = pools.find(({ name }) => name === parked_pool);
  return parked_pool === null || (pool?.state === 'blocked' && pool.opens_at === null);
}

/** A step that nothing but a time holds back: its next try, the window of the plan, its pool. */
function isComing({ plan, steps, pools }: PlanStand, now: number): boolean {
  const waiting = steps.filter(({ state }) => state === 'pending');
  if (waiting.some(({ not_before_at }) => not_before_at !== null && not_before_at > now)) return true;
  const shut = new Set(pools.filter((pool) => opensLater(pool, now)).map(({ name }) => name));
  const held = plan.is_window_open === 0 ? waiting : waiting.filter(({ pool }) => shut.has(pool));
  if (held.length === 0) return false;
  const open = new Set(steps.filter(({ state }) => !isOver(state)).map(({ step_id }) => step_id));
  return held.some(({ kind, spec_json }) => {
    const { needs, foreach } = JSON.parse(spec_json) as ExpandedStep;
    if (kind === 'group' && foreach === null) return false;
    return ![...needs, ...(foreach === null ? [] : [foreach.step])].some((need) => open.has(need));
  });
}

function isOver(state: StepRow['state']): boolean {
  return state === 'done' || state === 'failed' || state === 'skipped' || state === 'cancelled';
}

function opensLater({ state, opens_at, retry_at }: PlanStand['pools'][number], now: number): boolean {
  return (
    state === 'probing' ||
    (state === 'blocked' && opens_at !== null) ||
    (state === 'open' && retry_at !== null && retry_at > now)
  );
}
