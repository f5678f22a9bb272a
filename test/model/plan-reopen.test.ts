import { describe, expect, test } from 'bun:test';
import { advance } from '../../src/model/plan-advance.ts';
import type { PlanFacts, SessionFact, StepFact } from '../../src/model/plan-facts.ts';
import { facts, session, step } from './plan-world.ts';

const brief = (steps: StepFact[], plan: Partial<PlanFacts['plan']> = {}) =>
  advance(facts(steps, plan), 1_000_000).decisions.map((each) =>
    [each.do, 'step_id' in each ? each.step_id : '', 'outcome' in each ? (each.outcome ?? '') : ''].join(' ').trim(),
  );
const running = (id: string, own: Partial<SessionFact> = {}, more: Partial<StepFact> = {}) =>
  step(id, { state: 'running', sessions: [session(`${id}-1`, own)], ...more });
const left = (id: string, needs: string[], outcome: StepFact['outcome'], more: Partial<StepFact> = {}) =>
  step(id, { state: 'skipped', outcome, needs, ...more });

describe('a step that had failed goes on (C-12)', () => {
  test('whoever was left out because of it waits again, however far behind', () => {
    const steps = [
      running('a'),
      step('x', { state: 'failed', outcome: 'failed' }),
      left('b', ['a'], 'need_failed'),
      left('c', ['b'], 'need_failed'),
      left('d', ['a', 'x'], 'need_failed'),
      left('e', ['b'], 'condition', { when: 'any_failed' }),
    ];
    expect(brief(steps)).toEqual(['reopen b', 'reopen c']);
    expect(brief(steps, { stopping: 'usd' })).toEqual([]);
  });

  test('its group does so with it, and whoever needs that', () => {
    const steps = [
      running('g.1', {}, { group_id: 'g' }),
      step('g.2', { group_id: 'g', state: 'done' }),
      step('g', { kind: 'group', state: 'failed', outcome: 'group' }),
      left('z', ['g'], 'need_failed'),
    ];
    expect(brief(steps)).toEqual(['reopen g', 'reopen z']);
  });

  test('what was left out by a stop that was lifted waits again; by one that is in force, not', () => {
    const steps = [
      running('a'),
      left('b', [], 'stopped'),
      left('g', ['b'], 'stopped', { kind: 'group', foreach: 'b' }),
    ];
    expect(brief(steps)).toEqual(['reopen b', 'reopen g']);
    expect(brief(steps, { stopping: 'failed_steps' })).toEqual([]);
  });
});

describe('a session that was slung and has not begun when its plan stops early', () => {
  const queued = { is_begun: false };

  test('is called off with its step; who has begun goes on', () => {
    const steps = [running('a'), running('b', queued)];
    expect(brief(steps)).toEqual([]);
    expect(brief(steps, { stopping: 'usd' })).toEqual(['skip b stopped']);
    expect(brief([running('b', { ...queued, state: 'parked', waits_for: 'person' })], { stopping: 'usd' })).toEqual([
      'skip b stopped',
      'plan',
    ]);
  });

  test('of several attempts those that have begun decide', () => {
    const sessions = [session('b-1', { state: 'ended' }), session('b-2', { slot: 2, ...queued })];
    const both = step('b', { state: 'running', attempts: 2, sessions });
    expect(brief([both])).toEqual([]);
    expect(brief([both], { stopping: 'failed_steps' })).toEqual(['finish b', 'plan']);
  });

  test('a step that was written for a failure still comes; one that was to be tried again has failed', () => {
    const clean = running('clean', queued, { when: 'always' });
    expect(brief([clean], { stopping: 'on_failure' })).toEqual([]);
    expect(brief([clean], { stopping: 'usd' })).toEqual(['skip clean stopped', 'plan']);
    expect(brief([running('b', queued, { round: 2, outcome: 'lost' })], { stopping: 'usd' })).toEqual([
      'fail b lost',
      'plan',
    ]);
  });
});
