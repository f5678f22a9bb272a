import type { StopCause } from './plan.ts';
import { ENDED_PLAN_STATES } from './plan.ts';
import type { Advance, Decision, PlanFacts, SessionFact, StepFact } from './plan-facts.ts';
import { isBetter, isSpent, leftOut } from './plan-judge.ts';
import { ENDED_STEP_STATES, type FailureCause, type SkipCause, type StepOutcome, type StepState } from './plan-step.ts';
import { type WindowState, windowAt } from './window.ts';

const RETRY_MS = 5_000;
const RETRY_CAP_MS = 300_000;

/**
 * What a plan does next (C-12, ARCHITECTURE §5 "plan run"). Pure and deterministic; linear in steps and needs. A step
 * starts when its needs have ended as its `when` asks, and there is room for it in the plan and in its pool. Calling it
 * again with what its decisions brought about goes on; calling it again with the same facts says the same.
 */
export function advance(facts: PlanFacts, now: number): Advance {
  if ((ENDED_PLAN_STATES as readonly string[]).includes(facts.plan.state))
    return { decisions: [], wake_at: null, held_pools: [] };
  return new Round(facts, now).run();
}

/** Ended members of a group, and what they came to. */
interface Members {
  total: number;
  ended: number;
  failed: number;
  cancelled: number;
  skipped: SkipCause | null;
}

const ENDED: ReadonlySet<StepState> = new Set(ENDED_STEP_STATES);

class Round {
  readonly #facts: PlanFacts;
  readonly #now: number;
  readonly #decisions: Decision[] = [];
  /** As the decisions so far will have left them. */
  readonly #state: StepState[];
  readonly #outcome: (StepOutcome | null)[];
  readonly #index: Map<string, number>;
  readonly #members = new Map<string, Members>();
  readonly #window: WindowState | null;
  #stopping: StopCause | null;
  /** Sessions with a turn in flight or about to have one, by pool and in all. */
  #live = 0;
  readonly #liveIn = new Map<string, number>();
  #failed = 0;
  #wake_at: number | null = null;
  /** Something goes on by itself: the plan is not parked. */
  #isMoving = false;
  #isWaitingForPool = false;
  readonly #heldPools = new Set<string>();

  constructor(facts: PlanFacts, now: number) {
    this.#facts = facts;
    this.#now = now;
    const { steps, plan } = facts;
    this.#state = steps.map(({ state }) => state);
    this.#outcome = steps.map(({ outcome }) => outcome);
    this.#index = new Map(steps.map(({ id }, i) => [id, i]));
    this.#window = plan.window === null ? null : windowAt(plan.window, now);
    this.#stopping = plan.stopping;
    for (const { sessions, pool, kind, state } of steps) {
      if (kind === 'task' && state === 'failed') this.#failed += 1;
      for (const { state } of sessions) if (state === 'live') this.#count(pool);
    }
  }

  run(): Advance {
    const { steps } = this.#facts;
    this.#lookAtWindow();
    steps.forEach((step, i) => {
      if (ENDED.has(step.state)) return;
      if (step.state === 'merging') this.#settleMerge(step, i);
      else if (step.state === 'parked' && step.session_id !== null) this.#settleMerge(step, i);
      else if (step.state !== 'pending' && step.kind === 'task') this.#settle(step, i);
      else if (step.state === 'pending' && step.list !== null && 'problem' in step.list)
        this.#fail(step, i, 'fan_out', step.list.problem);
    });
    this.#lookAtStops();
    steps.forEach((step, i) => {
      const isGroup = step.kind === 'group' && (step.foreach === null || this.#state[i] !== 'pending');
      if (!ENDED.has(this.#state[i] ?? 'done')) {
        if (isGroup) this.#settleGroup(step, i);
        else if (this.#state[i] === 'pending') this.#lookAtPending(step, i);
        else this.#startSlots(step, i);
      } else if (this.#isBack(step, i)) this.#reopen(step, i);
      this.#tell(step, i);
    });
    this.#holdRunning();
    this.#lookAtPlan();
    return { decisions: this.#decisions, wake_at: this.#wake_at, held_pools: [...this.#heldPools] };
  }

  #count(pool: string): void {
    this.#live += 1;
    this.#liveIn.set(pool, (this.#liveIn.get(pool) ?? 0) + 1);
    this.#isMoving = true;
  }

  #wake(at: number | null): void {
    if (at !== null && (this.#wake_at === null || at < this.#wake_at)) this.#wake_at = at;
  }

  /** Something that is held back goes on by itself at this instant. */
  #waitUntil(at: number | null): void {
    this.#wake(at);
    this.#isMoving = true;
  }

  #lookAtWindow(): void {
    if (this.#window === null) return;
    const { is_open, changes_at } = this.#window;
    if (is_open !== this.#facts.plan.is_window_open) this.#decisions.push({ do: 'window', is_open });
    this.#wake(changes_at);
  }

  #lookAtStops(): void {
    if (this.#stopping !== null) return;
    const { spent, quota_left } = this.#facts;
    const { on_failure, stop_when } = this.#facts.plan;
    const { failed_steps, cost_micros, quota_left: least } = stop_when;
    if (on_failure === 'stop' && this.#failed > 0) this.#stopping = 'on_failure';
    else if (failed_steps !== null && this.#failed >= failed_steps) this.#stopping = 'failed_steps';
    else if (cost_micros !== null && spent.cost_micros >= cost_micros) this.#stopping = 'usd';
    else if (least !== null && quota_left !== null && quota_left <= least) this.#stopping = 'quota_left';
    if (this.#stopping === null) return;
    this.#decisions.push({ do: 'stop', cause: this.#stopping });
    // What it means for steps that lack attempts shows in the next call.
    this.#isMoving = true;
  }

  /** A step with sessions: are they through, and what came of them? */
  #settle(step: StepFact, i: number): void {
    const sessions = step.sessions.filter((each) => !this.#isCalledOff(step, each));
    if (sessions.length === 0 && step.sessions.length > 0) {
      this.#callOff(step, i);
      return;
    }
    const hasAll = sessions.length >= step.attempts || this.#stopping !== null;
    const parked = sessions.filter(({ state, waits_for }) => state === 'parked' && waits_for !== 'gate');
    const best = sessions
      .filter(({ state, cause }) => state === 'ended' && cause === null)
      .reduce<SessionFact | null>((least, each) => (least !== null && !isBetter(each, least) ? least : each), null);
    if (sessions.some(({ state }) => state === 'live') || !hasAll) this.#unpark(step, i);
    else if (parked.length > 0) this.#park(step, i, parked);
    else if (best === null) this.#tryAgain({ ...step, sessions }, i);
    else if (step.merge !== 'none' && best.merge !== 'merged') this.#merge(step, i, best, step.merge);
    else this.#finish(step, i, best.id);
  }

  #settleMerge(step: StepFact, i: number): void {
    const winner = step.sessions.find(({ id }) => id === step.session_id);
    const mode = step.merge === 'pr' ? 'pr' : 'queue';
    if (winner === undefined) this.#fail(step, i, 'merge', 'the session to be merged is gone');
    else if (winner.merge === 'merged') this.#finish(step, i, winner.id);
    else if (winner.merge === 'refused') this.#park(step, i, [{ ...winner, waits_for: 'person' }]);
    // Written down and not in the queue: whoever wanted to put it there died, or a person has put it there again.
    else if (winner.merge === 'none' || step.state === 'parked') this.#merge(step, i, winner, mode);
    else this.#isMoving = true;
  }

  #merge(step: StepFact, i: number, { id }: SessionFact, mode: 'queue' | 'pr'): void {
    this.#decisions.push({ do: 'merge', step_id: step.id, session_id: id, mode });
    this.#state[i] = 'merging';
    this.#isMoving = true;
  }

  #unpark(step: StepFact, i: number): void {
    if (step.state !== 'parked') return;
    this.#decisions.push({ do: 'unpark', step_id: step.id });
    this.#state[i] = 'running';
  }

  #park(step: StepFact, i: number, parked: readonly SessionFact[]): void {
    if (parked.some(({ waits_for }) => waits_for === 'time')) this.#isMoving = true;
    if (step.state === 'parked') return;
    const reason = parked.find(({ reason }) => reason !== null)?.reason ?? 'parked';
    this.#decisions.push({ do: 'park', step_id: step.id, reason });
    this.#state[i] = 'parked';
  }

  #tryAgain(step: StepFact, i: number): void {
    const { sessions, retry, round } = step;
    const first = sessions.reduce<SessionFact | null>(
      (least, each) => (least === null || each.slot < least.slot ? each : least),
      null,
    );
    const cause: FailureCause = first?.state === 'parked' ? 'gate' : (first?.cause ?? 'sling');
    const isOn = (retry.on as readonly FailureCause[]).includes(cause);
    if (!isOn || round > retry.max || this.#stopping !== null) {
      this.#fail(step, i, cause, first?.reason ?? null);
      return;
    }
    const not_before_at = this.#now + Math.min(RETRY_CAP_MS, RETRY_MS * 2 ** (round - 1));
    const stop = sessions.filter(({ state }) => state === 'parked').map(({ id }) => id);
    this.#decisions.push({ do: 'retry', step_id: step.id, round: round + 1, cause, not_before_at, stop });
    this.#state[i] = 'pending';
    this.#outcome[i] = cause;
    this.#waitUntil(not_before_at);
  }

  #finish(step: StepFact, i: number, session_id: string | null): void {
    const archive = step.sessions.filter(({ id }) => id !== session_id).map(({ id }) => id);
    this.#decisions.push({ do: 'finish', step_id: step.id, session_id, archive });
    this.#end(i, 'done', null);
  }

  #fail(step: StepFact, i: number, outcome: FailureCause, reason: string | null): void {
    // One session's work stays where it is; of several, none is the step's.
    const archive = step.sessions.length > 1 ? step.sessions.map(({ id }) => id) : [];
    this.#decisions.push({ do: 'fail', step_id: step.id, outcome, reason, archive });
    this.#end(i, 'failed', outcome);
    if (step.kind === 'task') this.#failed += 1;
  }

  #skip(step: StepFact, i: number, outcome: SkipCause): void {
    this.#decisions.push({ do: 'skip', step_id: step.id, outcome });
    this.#end(i, 'skipped', outcome);
  }

  #end(i: number, state: StepState, outcome: StepOutcome | null): void {
    this.#state[i] = state;
    this.#outcome[i] = outcome;
  }

  /** Its group learns how a member is. */
  #tell({ group_id }: StepFact, i: number): void {
    if (group_id === null) return;
    const members = this.#members.get(group_id) ?? { total: 0, ended: 0, failed: 0, cancelled: 0, skipped: null };
    const state = this.#state[i] ?? 'pending';
    members.total += 1;
    if (ENDED.has(state)) members.ended += 1;
    if (state === 'failed') members.failed += 1;
    if (state === 'cancelled') members.cancelled += 1;
    if (state === 'skipped') members.skipped ??= this.#outcome[i] as SkipCause;
    this.#members.set(group_id, members);
  }

  #settleGroup(step: StepFact, i: number): void {
    const members = this.#members.get(step.id) ?? { total: 0, ended: 0, failed: 0, cancelled: 0, skipped: null };
    const { failed, cancelled, total, skipped } = members;
    if (members.ended < total) return;
    if (failed + cancelled > 0) this.#fail(step, i, 'group', `${failed + cancelled} of ${total} failed`);
    else if (skipped !== null) this.#skip(step, i, skipped);
    else this.#finish(step, i, null);
  }

  #lookAtPending(step: StepFact, i: number): void {
    const ready = this.#isLeftOut(step) ? 'stopped' : this.#judge(step);
    if (ready === 'wait') return;
    if (ready === 'stopped') this.#callOff(step, i);
    else if (ready !== 'go') this.#skip(step, i, ready);
    else if (step.foreach === null) this.#startSlots(step, i);
    else if (step.list === null)
      // Its step is done by a decision of this call: the next facts have the list.
      this.#isMoving = true;
    else if (this.#mayStart(step, i)) {
      this.#decisions.push({ do: 'fan_out', step_id: step.id });
      this.#state[i] = 'running';
      this.#isMoving = true;
    }
  }

  /** The plan stops before it has begun, or is tried again. */
  #callOff(step: StepFact, i: number): void {
    const tried = this.#outcome[i] ?? null;
    if (tried === null) this.#skip(step, i, 'stopped');
    else this.#fail(step, i, tried as FailureCause, 'not tried again: the plan stops');
  }

  /** It was slung before the plan was known to stop, and cannot begin any more: nothing that waits for it would end. */
  #isCalledOff(step: StepFact, { state, is_begun }: SessionFact): boolean {
    return this.#facts.plan.stopping !== null && state !== 'ended' && !is_begun && this.#isLeftOut(step);
  }

  /** What kept it from being started, or failed it as a group, is no more: a person has taken up a failed step again. */
  #isBack(step: StepFact, i: number): boolean {
    const outcome = this.#outcome[i];
    const members = this.#members.get(step.id);
    if (members !== undefined && step.kind === 'group')
      return members.ended < members.total && (outcome === 'group' || this.#state[i] === 'skipped');
    if (this.#state[i] !== 'skipped' || this.#isLeftOut(step)) return false;
    if (outcome === 'stopped') return true;
    return (outcome === 'need_failed' || outcome === 'need_skipped') && ['wait', 'go'].includes(this.#judge(step));
  }

  #reopen({ id }: StepFact, i: number): void {
    this.#decisions.push({ do: 'reopen', step_id: id });
    this.#state[i] = 'pending';
    this.#outcome[i] = null;
    // What it does next shows in the next call.
    this.#isMoving = true;
  }

  /** After a failure those that were written for one may still come; any other stop leaves nothing out. */
  #isLeftOut({ when }: StepFact): boolean {
    return this.#stopping !== null && (this.#stopping !== 'on_failure' || when === 'all_ok');
  }

  #judge({ needs, when }: StepFact): 'go' | 'wait' | SkipCause {
    let isWaiting = false;
    let hasFailed = false;
    let isSkipped = false;
    for (const id of needs) {
      const at = this.#index.get(id) ?? -1;
      const state = this.#state[at] ?? 'pending';
      const outcome = this.#outcome[at];
      if (!ENDED.has(state)) isWaiting = true;
      else if (state === 'failed' || state === 'cancelled' || outcome === 'need_failed') hasFailed = true;
      else if (state === 'skipped') isSkipped = true;
    }
    if (when === 'all_ok' && (hasFailed || isSkipped)) return hasFailed ? 'need_failed' : 'need_skipped';
    if (isWaiting) return 'wait';
    return when === 'any_failed' && !hasFailed ? 'condition' : 'go';
  }

  /** May this step start anything now? The time of a retry and a closed window end by themselves. */
  #mayStart(step: StepFact, i: number): boolean {
    const { state, budget } = this.#facts.plan;
    if (state === 'paused' || isSpent(this.#facts.spent, budget)) return false;
    const waits_until = this.#state[i] === 'pending' ? (step.not_before_at ?? 0) : 0;
    if (this.#window?.is_open === false) this.#waitUntil(this.#window.changes_at);
    else if (waits_until > this.#now) this.#waitUntil(waits_until);
    else return true;
    return false;
  }

  /** Starts what is missing of a step's attempts, as far as there is room. */
  #startSlots(step: StepFact, i: number): void {
    const isFresh = this.#state[i] === 'pending';
    // A step that is tried again has a new round, and none of its sessions yet.
    if (isFresh ? step.state !== 'pending' : this.#state[i] !== 'running' || this.#stopping !== null) return;
    const taken = new Set(isFresh ? [] : step.sessions.map(({ slot }) => slot));
    if (step.kind !== 'task' || taken.size >= step.attempts || !this.#mayStart(step, i)) return;
    for (let slot = 1; slot <= step.attempts; slot++) {
      if (taken.has(slot)) continue;
      if (!this.#hasRoom(step.pool)) return;
      this.#decisions.push({ do: 'start', step_id: step.id, round: step.round, slot });
      this.#state[i] = 'running';
      this.#count(step.pool);
    }
  }

  #hasRoom(pool: string): boolean {
    const { plan, shut_pools } = this.#facts;
    if (this.#live >= plan.concurrency) return false;
    const cap = Object.hasOwn(plan.pools, pool) ? plan.pools[pool] : undefined;
    if (cap !== undefined && (this.#liveIn.get(pool) ?? 0) >= cap) return false;
    if (!shut_pools.has(pool)) return true;
    this.#heldPools.add(pool);
    const opens_at = shut_pools.get(pool) ?? null;
    if (opens_at === null) this.#isWaitingForPool = true;
    else this.#waitUntil(opens_at);
    return false;
  }

  /** Outside its window a plan may want its running sessions to rest until it opens again. */
  #holdRunning(): void {
    const until = this.#window?.changes_at ?? null;
    if (this.#window === null || this.#window.is_open || until === null) return;
    if (this.#facts.plan.window?.running !== 'park') return;
    for (const { sessions } of this.#facts.steps)
      for (const { id, state } of sessions)
        if (state === 'live') this.#decisions.push({ do: 'hold', session_id: id, until });
  }

  #lookAtPlan(): void {
    const { plan, spent } = this.#facts;
    const open = this.#state.filter((state) => !ENDED.has(state));
    if (open.length === 0) {
      // A group is its members; a list that came to nothing has none.
      const isBad = (_step: StepFact, i: number) => this.#state[i] === 'failed' || this.#state[i] === 'cancelled';
      const tasks = this.#facts.steps.filter(({ kind }) => kind === 'task').length;
      const bad = this.#facts.steps.filter(isBad);
      const badTasks = bad.filter(({ kind }) => kind === 'task').length;
      const told =
        badTasks > 0 ? `${badTasks} of ${tasks} steps failed` : `${bad.map(({ id }) => id).join(', ')} failed`;
      const state = bad.length > 0 || this.#stopping !== null ? 'failed' : 'completed';
      const reason = this.#stopping ?? (bad.length > 0 ? told : leftOut(this.#facts.steps));
      this.#decisions.push({ do: 'plan', state, reason });
      this.#wake_at = null;
      return;
    }
    if (plan.state === 'paused') return;
    if (!this.#isMoving && plan.state === 'active') {
      const parked = open.filter((state) => state === 'parked').length;
      const budget = isSpent(spent, plan.budget) ? 'budget' : null;
      const pool = this.#isWaitingForPool ? 'pool' : null;
      const reason = budget ?? (parked > 0 ? `${parked} parked` : pool);
      this.#decisions.push({ do: 'plan', state: 'parked', reason });
    } else if (this.#isMoving && plan.state === 'parked') {
      // First, so that what follows is written for a plan that is active.
      this.#decisions.unshift({ do: 'plan', state: 'active', reason: null });
    }
  }
}
