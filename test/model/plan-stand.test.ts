import { describe, expect, test } from 'bun:test';
import { type LiveSession, type PlanStand, waitsForPerson } from '../../src/model/plan-stand.ts';

const NOW = 1_000;
const spec = (needs: string[] = [], foreach: { step: string; max: number } | null = null) =>
  JSON.stringify({ needs, foreach });
const step = (step_id: string, more: Partial<PlanStand['steps'][number]> = {}): PlanStand['steps'][number] => ({
  ...{ step_id, state: 'running', kind: 'task', not_before_at: null, spec_json: spec(), pool: 'p', ...more },
});
const live = (id: string, more: Partial<LiveSession> = {}): LiveSession => ({
  ...{ id, state: 'idle', resume_at: null, parked_pool: null, parent_id: null, next_turn_at: null, turn: 1 },
  ...{ step_id: 'a', is_asking: true, turn: 1, ...more },
});
const waits = (more: Partial<PlanStand>) =>
  waitsForPerson(
    { plan: { state: 'active', is_window_open: null }, steps: [step('a')], live: [live('ewe')], pools: [], ...more },
    NOW,
  );
const held = { state: 'parked' as const, is_asking: false };
const pool = (more: Partial<PlanStand['pools'][number]>) => [
  { name: 'p', state: 'blocked' as const, opens_at: null, retry_at: null, ...more },
];

describe('a plan waits for a person', () => {
  test('when everybody who lives does', () => {
    expect(waits({})).toBe(true);
    expect(waits({ live: [live('ewe'), live('ram', held)] })).toBe(true);
    expect(waits({ live: [live('ram', { ...held, parked_pool: 'p' })], pools: pool({}) })).toBe(true);
    expect(waits({ live: [] })).toBe(false);
    expect(waits({ live: [live('ewe'), live('ram', { state: 'working' })] })).toBe(false);
    expect(waits({ live: [live('ewe', { next_turn_at: 2_000 })] })).toBe(false);
    expect(waits({ live: [live('ewe', { is_asking: false })] })).toBe(false);
  });

  test('not when somebody goes on at a time', () => {
    expect(waits({ live: [live('ewe'), live('ram', { ...held, resume_at: 9_000 })] })).toBe(false);
    const limited = [live('ewe'), live('ram', { ...held, parked_pool: 'p' })];
    expect(waits({ live: limited, pools: pool({ opens_at: 9_000 }) })).toBe(false);
    expect(waits({ live: limited, pools: pool({ state: 'probing' }) })).toBe(false);
  });

  test('who rests for a child waits for whom the child waits', () => {
    const parent = live('ewe', { is_asking: false });
    const child = live('lamb', { step_id: null, parent_id: 'ewe' });
    expect(waits({ live: [parent, child] })).toBe(true);
    expect(waits({ live: [parent, { ...child, state: 'working' }] })).toBe(false);
    expect(waits({ live: [live('ewe'), { ...child, state: 'working' }] })).toBe(false);
  });

  test('not for a slot that comes free, and for one that does not', () => {
    const queued = live('ram', { state: 'queued', step_id: 'b', is_asking: false });
    expect(waits({ steps: [step('a'), step('b')], live: [live('ewe'), queued] })).toBe(false);
    expect(waits({ steps: [step('a'), step('b', { state: 'parked' })], live: [live('ewe'), queued] })).toBe(true);
  });

  test('a plan that is paused lets none of its steps begin; who has begun goes on', () => {
    const plan = { state: 'paused' as const, is_window_open: null };
    const queued = (more: Partial<LiveSession>) => [live('ram', { state: 'queued', is_asking: false, ...more })];
    expect(waits({ plan, live: queued({ turn: 0 }) })).toBe(true);
    expect(waits({ plan, live: queued({ turn: 1 }) })).toBe(false);
    expect(waits({ plan, live: queued({ turn: 0, step_id: null }) })).toBe(false);
    expect(waits({ live: queued({ turn: 0 }) })).toBe(false);
  });

  test('not while something is merged, or is tried again at a time; a retry that was called off is none', () => {
    const other = (more: Partial<PlanStand['steps'][number]>) => [step('a'), step('b', more)];
    expect(waits({ steps: other({ state: 'merging' }) })).toBe(false);
    expect(waits({ steps: other({ state: 'pending', not_before_at: 2_000, spec_json: spec(['a']) }) })).toBe(false);
    expect(waits({ steps: other({ state: 'failed', not_before_at: 2_000 }) })).toBe(true);
    // Its time has come, and it has no slot before the other one is answered.
    expect(waits({ steps: other({ state: 'pending', not_before_at: 500 }) })).toBe(true);
  });

  test('not while its window, or a pool, lets a step begin later that needs nobody', () => {
    const shut = { plan: { state: 'active' as const, is_window_open: 0 } };
    const steps = (needs: string[], more: Partial<PlanStand['steps'][number]> = {}) => [
      step('a'),
      step('z', { state: 'done' }),
      step('b', { state: 'pending', spec_json: spec(needs), ...more }),
    ];
    expect(waits({ ...shut, steps: steps(['z']) })).toBe(false);
    expect(waits({ ...shut, steps: steps(['a']) })).toBe(true);
    expect(waits({ ...shut, steps: steps([], { spec_json: spec([], { step: 'a', max: 2 }), kind: 'group' }) })).toBe(
      true,
    );
    expect(waits({ ...shut, steps: steps([], { kind: 'group' }) })).toBe(true);
    expect(waits({ steps: steps(['z']) })).toBe(true);
    const other = steps(['z'], { pool: 'q' });
    for (const more of [
      { opens_at: 9_000 },
      { state: 'probing' as const },
      { state: 'open' as const, retry_at: 2_000 },
    ])
      expect(waits({ steps: other, pools: pool({ name: 'q', ...more }) })).toBe(false);
    expect(waits({ steps: other, pools: pool({ name: 'q' }) })).toBe(true);
  });

  test('when it is parked; when it is paused and nothing of it is left at work', () => {
    const paused = { plan: { state: 'paused' as const, is_window_open: null } };
    expect(waits({ plan: { state: 'parked', is_window_open: null }, live: [] })).toBe(true);
    expect(waits({ ...paused, live: [] })).toBe(true);
    expect(waits({ ...paused, live: [live('ewe')] })).toBe(true);
    expect(waits({ ...paused, live: [live('ewe', { state: 'working' })] })).toBe(false);
    // One that has not begun stays in the queue until the plan goes on; one between two turns does not.
    expect(waits({ ...paused, live: [live('ewe', { state: 'queued', turn: 0 })] })).toBe(true);
    expect(waits({ ...paused, live: [live('ewe', { state: 'queued' })] })).toBe(false);
    expect(waits({ live: [live('ewe', { state: 'queued', turn: 0 })] })).toBe(false);
    expect(waits({ ...paused, live: [], steps: [step('a', { state: 'merging' })] })).toBe(false);
    expect(waits({ plan: { state: 'completed', is_window_open: null }, live: [] })).toBe(false);
  });
});
