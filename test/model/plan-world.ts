import { expect } from 'bun:test';
import { advance } from '../../src/model/plan-advance.ts';
import type { Decision, PlanFacts, SessionFact, StepFact } from '../../src/model/plan-facts.ts';
import { ENDED_STEP_STATES, RETRY_CAUSES, STEP_PREDECESSORS, type StepState } from '../../src/model/plan-step.ts';

export type Fate = 'ok' | 'fail' | 'lost' | 'stopped' | 'park_time' | 'park_person' | 'gate' | 'refused';

/** A step of a plan that nothing was done for yet. */
export function step(id: string, more: Partial<StepFact> = {}): StepFact {
  return {
    ...{ id, kind: 'task', group_id: null, needs: [], foreach: null, list: null, when: 'all_ok', attempts: 1 },
    ...{
      retry: { max: 0, on: RETRY_CAUSES },
      merge: 'none',
      pool: 'p',
      state: 'pending',
      outcome: null,
      round: 1,
      dropped: 0,
    },
    ...{ not_before_at: null, session_id: null, sessions: [], ...more },
  };
}

export function session(id: string, more: Partial<SessionFact> = {}): SessionFact {
  return {
    ...{ id, slot: 1, state: 'live', waits_for: null, reason: null, cause: null, diff_lines: null, merge: 'none' },
    ...{ is_begun: true, ...more },
  };
}

export function facts(
  steps: StepFact[],
  plan: Partial<PlanFacts['plan']> = {},
  more: Partial<Omit<PlanFacts, 'plan' | 'steps'>> = {},
): PlanFacts {
  return {
    plan: {
      ...{ concurrency: 100, pools: {}, budget: null, window: null, on_failure: 'continue', state: 'active' },
      ...{
        stop_when: { failed_steps: null, cost_micros: null, quota_left: null },
        stopping: null,
        is_window_open: null,
      },
      ...plan,
    },
    ...{ spent: { cost_micros: 0, tokens: 0 }, quota_left: null, shut_pools: new Map(), steps, ...more },
  };
}

export const hasEnded = ({ state }: StepFact) => ['done', 'failed', 'skipped'].includes(state);

/**
 * Carries decisions out as the database would, and holds them to what a plan promises: whatever is written is legal, no
 * step starts before its needs, no try of one is started twice, no more sessions are live than there is room for.
 */
export class PlanWorld {
  now = 1_000_000;
  facts: PlanFacts;
  readonly started = new Set<string>();
  readonly seen: Decision[] = [];
  #sessions = 0;

  constructor(start: PlanFacts) {
    this.facts = start;
  }

  of(id: string): StepFact {
    const found = this.facts.steps.find((each) => each.id === id);
    if (found === undefined) throw new Error(`no step ${id}`);
    return found;
  }

  live(): SessionFact[] {
    return this.facts.steps.flatMap(({ sessions }) => sessions.filter(({ state }) => state === 'live'));
  }

  /** One call, and everything it decided. */
  turn(): Decision[] {
    const { decisions, wake_at } = advance(this.facts, this.now);
    if (decisions.length > 0) expect(advance(this.facts, this.now).decisions).toEqual(decisions);
    if (wake_at !== null) expect(wake_at).toBeGreaterThan(this.now);
    const room = this.facts.plan.concurrency;
    const before = this.live().length;
    for (const decision of decisions) this.#carryOut(decision);
    expect(this.live().length).toBeLessThanOrEqual(Math.max(room, before));
    this.seen.push(...decisions);
    if (decisions.length === 0 && wake_at !== null) this.now = wake_at;
    return decisions;
  }

  #set(id: string, patch: Partial<StepFact>): void {
    const at = this.facts.steps.findIndex((each) => each.id === id);
    const old = this.facts.steps[at] as StepFact;
    if (patch.state !== undefined && patch.state !== old.state)
      expect(STEP_PREDECESSORS[patch.state as StepState]).toContain(old.state);
    const steps = [...this.facts.steps];
    steps[at] = { ...old, ...patch };
    this.facts = { ...this.facts, steps };
  }

  /** What no decision may do: a person's word. */
  #force(id: string, patch: Partial<StepFact>): void {
    const steps = this.facts.steps.map((each) => (each.id === id ? { ...each, ...patch } : each));
    this.facts = { ...this.facts, steps };
  }

  /** A person resumes a session of a step that has failed, as the store writes it. */
  takeUp(id: string, session_id: string): void {
    this.#force(id, { state: 'running', outcome: null, session_id: null });
    this.change(session_id, { state: 'live', waits_for: null, cause: null, is_begun: true });
    const { plan } = this.facts;
    const stopping = plan.stopping === 'usd' || plan.stopping === 'quota_left' ? plan.stopping : null;
    const state = plan.state === 'failed' ? 'active' : plan.state;
    this.facts = { ...this.facts, plan: { ...plan, state, stopping } };
  }

  #carryOut(decision: Decision): void {
    const plan = this.facts.plan;
    switch (decision.do) {
      case 'plan':
        this.facts = { ...this.facts, plan: { ...plan, state: decision.state } };
        if (decision.state === 'parked') expect(decision.reason).not.toBeNull();
        return;
      case 'window':
        this.facts = { ...this.facts, plan: { ...plan, is_window_open: decision.is_open } };
        return;
      case 'stop':
        expect(plan.stopping).toBeNull();
        this.facts = { ...this.facts, plan: { ...plan, stopping: decision.cause } };
        return;
      case 'hold':
        this.change(decision.session_id, { state: 'parked', waits_for: 'time' });
        return;
      case 'start':
        this.#start(decision);
        return;
      case 'fan_out':
        this.#fanOut(decision.step_id);
        return;
      case 'park':
        this.#set(decision.step_id, { state: 'parked' });
        return;
      case 'unpark':
        this.#set(decision.step_id, { state: 'running' });
        return;
      case 'retry': {
        const { step_id, round, cause, not_before_at } = decision;
        expect(round).toBe(this.of(step_id).round + 1);
        this.#set(step_id, {
          state: 'pending',
          round,
          outcome: cause,
          not_before_at,
          sessions: [],
          session_id: null,
        });
        return;
      }
      case 'merge':
        this.change(decision.session_id, { merge: 'waiting' });
        this.#set(decision.step_id, { state: 'merging', session_id: decision.session_id });
        return;
      case 'finish':
        this.#set(decision.step_id, { state: 'done', session_id: decision.session_id, outcome: null });
        return;
      case 'fail':
        this.#set(decision.step_id, { state: 'failed', outcome: decision.outcome });
        return;
      case 'skip':
        this.#set(decision.step_id, { state: 'skipped', outcome: decision.outcome });
        return;
      case 'reopen':
        this.#reopen(this.of(decision.step_id));
        return;
    }
  }

  #reopen({ id, state, kind, outcome, round, sessions }: StepFact): void {
    expect(state === 'skipped' || (state === 'failed' && kind === 'group' && outcome === 'group')).toBe(true);
    const isFannedOut = this.facts.steps.some(({ group_id }) => group_id === id);
    this.#force(id, {
      ...{ state: kind === 'group' && isFannedOut ? 'running' : 'pending', outcome: null },
      ...{ round: sessions.length > 0 ? round + 1 : round, sessions: [] },
    });
  }

  #start({ step_id, round, slot }: Extract<Decision, { do: 'start' }>): void {
    const { needs, when, sessions, kind, round: now } = this.of(step_id);
    expect([kind, this.facts.plan.state, round]).toEqual(['task', 'active', now]);
    const key = `${step_id} ${round} ${slot}`;
    expect(this.started.has(key)).toBe(false);
    this.started.add(key);
    const states = needs.map((id) => this.of(id).state);
    // What it needs may be taken up again once it is at work.
    if (sessions.length === 0)
      for (const state of states) expect(ENDED_STEP_STATES as readonly StepState[]).toContain(state);
    if (when === 'all_ok') expect(states.filter((state) => state !== 'done')).toEqual([]);
    this.#sessions += 1;
    const made = session(`session-${this.#sessions}`, { slot, is_begun: false, diff_lines: (this.#sessions * 7) % 5 });
    this.#set(step_id, { state: 'running', sessions: [...sessions, made] });
    return;
  }

  #fanOut(id: string): void {
    const group = this.of(id);
    expect(group.state).toBe('pending');
    const items = group.list !== null && 'items' in group.list ? group.list.items : 0;
    const members = Array.from({ length: items }, (_, n) =>
      step(`${id}.${n + 1}`, { group_id: id, attempts: group.attempts, retry: group.retry, merge: group.merge }),
    );
    const at = this.facts.steps.indexOf(group);
    this.facts = {
      ...this.facts,
      steps: [...this.facts.steps.slice(0, at), ...members, ...this.facts.steps.slice(at)],
    };
    this.#set(id, { state: 'running' });
  }

  change(session_id: string, patch: Partial<SessionFact>): void {
    const owner = this.facts.steps.find(({ sessions }) => sessions.some(({ id }) => id === session_id));
    if (owner === undefined) throw new Error(`no session ${session_id}`);
    this.#set(owner.id, {
      sessions: owner.sessions.map((each) => (each.id === session_id ? { ...each, ...patch } : each)),
    });
  }

  /** Who is in the queue gets a slot, unless its plan stops and leaves it out; nobody waits for it then. */
  begin(): void {
    const { stopping } = this.facts.plan;
    for (const { sessions, when, ended } of this.facts.steps.map((each) => ({ ...each, ended: hasEnded(each) })))
      for (const { id, state, is_begun } of sessions) {
        if (state !== 'live' || is_begun) continue;
        if (stopping === null || (stopping === 'on_failure' && when !== 'all_ok')) this.change(id, { is_begun: true });
        else if (ended) this.befall(id, 'stopped');
      }
  }

  /** What the world does to a live session. */
  befall(session_id: string, fate: Fate): void {
    const ended = { state: 'ended', waits_for: null, cause: null } as const;
    if (fate === 'ok' || fate === 'refused') this.change(session_id, ended);
    else if (fate === 'fail') this.change(session_id, { ...ended, cause: 'failed' });
    else if (fate === 'lost' || fate === 'stopped') this.change(session_id, { ...ended, cause: fate });
    else {
      const waits_for = { park_time: 'time', park_person: 'person', gate: 'gate' }[fate] as SessionFact['waits_for'];
      this.change(session_id, { state: 'parked', waits_for, reason: fate });
    }
  }

  /** Lists are printed, merges happen, what waits for time goes on; with `person` what waits for one as well. */
  settle(person: boolean, list: StepFact['list'], isMergeRefused: boolean): void {
    for (const { id, foreach, state } of this.facts.steps)
      if (foreach !== null && state === 'pending' && this.of(foreach).state === 'done') this.#set(id, { list });
    for (const { sessions, state, session_id } of this.facts.steps) {
      for (const { id, state: of, waits_for, merge } of sessions) {
        if (of === 'parked' && (waits_for === 'time' || (person && waits_for === 'person')))
          this.change(id, { state: 'live', waits_for: null });
        if (state === 'merging' && id === session_id && merge === 'waiting')
          this.change(id, { merge: isMergeRefused ? 'refused' : 'merged' });
        if (person && merge === 'refused') this.change(id, { merge: 'merged' });
      }
    }
  }
}
