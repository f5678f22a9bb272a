import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { advance } from '../../src/model/plan-advance.ts';
import type { PlanFacts, StepFact } from '../../src/model/plan-facts.ts';
import { FINAL_CAUSES, RETRY_CAUSES } from '../../src/model/plan-step.ts';
import { type Fate, facts, PlanWorld, session, step } from './plan-world.ts';

const NOW = Date.parse('2026-05-05T12:00:00Z');
const decide = (steps: StepFact[], plan: Partial<PlanFacts['plan']> = {}, more: Parameters<typeof facts>[2] = {}) =>
  advance(facts(steps, plan, more), NOW).decisions;
const brief = (steps: StepFact[], plan: Partial<PlanFacts['plan']> = {}, more: Parameters<typeof facts>[2] = {}) =>
  decide(steps, plan, more).map((each) =>
    [each.do, 'step_id' in each ? each.step_id : '', 'outcome' in each ? each.outcome : ''].join(' ').trim(),
  );
const done = (id: string, more: Partial<StepFact> = {}) => step(id, { state: 'done', ...more });
const failed = (id: string, more: Partial<StepFact> = {}) => step(id, { state: 'failed', outcome: 'failed', ...more });
const running = (id: string, ...sessions: Parameters<typeof session>[1][]) =>
  step(id, {
    state: 'running',
    sessions: sessions.map((more, n) => session(`${id}-${n + 1}`, { slot: n + 1, ...more })),
  });
const ended = { state: 'ended' } as const;

describe('what starts', () => {
  test('everything whose needs are met, in the order of the plan, as far as there is room', () => {
    const steps = [done('a'), step('b', { needs: ['a'] }), step('c', { needs: ['b'] }), step('d'), step('e')];
    expect(brief(steps)).toEqual(['start b', 'start d', 'start e']);
    expect(brief(steps, { concurrency: 2 })).toEqual(['start b', 'start d']);
    expect(brief([running('r', {}), step('s')], { concurrency: 1 })).toEqual([]);
  });

  test('a parked session takes no room', () => {
    const parked = { ...running('r', { state: 'parked', waits_for: 'person' } as const), state: 'parked' as const };
    expect(brief([parked, step('s')], { concurrency: 1 })).toEqual(['start s']);
  });

  test('a pool has its own cap, and a shut one lets nothing start', () => {
    const steps = [step('a'), step('b'), step('c', { pool: 'q' })];
    expect(brief(steps, { pools: { p: 1 } })).toEqual(['start a', 'start c']);
    const shut = { shut_pools: new Map([['p', NOW + 5]]) };
    expect(brief(steps, {}, shut)).toEqual(['start c']);
    expect(advance(facts(steps, {}, shut), NOW).wake_at).toBe(NOW + 5);
    expect(decide([step('a')], {}, { shut_pools: new Map([['p', null]]) })).toEqual([
      { do: 'plan', state: 'parked', reason: 'pool' },
    ]);
  });

  test('all attempts of a step, each once, as room comes up', () => {
    const steps = [step('a', { attempts: 3 })];
    expect(decide(steps, { concurrency: 2 })).toEqual([
      { do: 'start', step_id: 'a', round: 1, slot: 1 },
      { do: 'start', step_id: 'a', round: 1, slot: 2 },
    ]);
    const half = { ...running('a', ended, {}), attempts: 3 };
    expect(decide([half], { concurrency: 2 })).toEqual([{ do: 'start', step_id: 'a', round: 1, slot: 3 }]);
  });

  test('nothing outside the window, and what runs rests when the plan says so', () => {
    const window = { start: '22:00', stop: '06:00', timezone: 'UTC', running: 'park' } as const;
    const shut = advance(facts([running('a', {}), step('b')], { window, is_window_open: true }), NOW);
    const opens_at = Date.parse('2026-05-05T22:00:00Z');
    expect(shut.decisions).toEqual([
      { do: 'window', is_open: false },
      { do: 'hold', session_id: 'a-1', until: opens_at },
    ]);
    expect(shut.wake_at).toBe(opens_at);
    expect(
      brief([running('a', {}), step('b')], { window: { ...window, running: 'finish' }, is_window_open: false }),
    ).toEqual([]);
    expect(
      advance(facts([step('b')], { window, is_window_open: false }), opens_at).decisions.map((each) => each.do),
    ).toEqual(['window', 'start']);
  });

  test('nothing of a paused plan; what ran is still settled, and what has ended is closed', () => {
    expect(brief([running('a', ended), step('b')], { state: 'paused' })).toEqual(['finish a']);
    expect(decide([done('a')], { state: 'paused' })).toEqual([{ do: 'plan', state: 'completed', reason: null }]);
  });

  test('nothing of a plan that has ended', () => {
    for (const state of ['completed', 'failed', 'cancelled'] as const)
      expect(decide([step('a')], { state })).toEqual([]);
  });

  test('nothing when the money or the tokens are spent: the plan waits for a person', () => {
    const budget = { cost_micros: 10, tokens: 100 };
    for (const spent of [
      { cost_micros: 10, tokens: 0 },
      { cost_micros: 0, tokens: 100 },
    ])
      expect(decide([step('a')], { budget }, { spent })).toEqual([{ do: 'plan', state: 'parked', reason: 'budget' }]);
    expect(decide([step('a')], { budget, state: 'parked' }, { spent: { cost_micros: 9, tokens: 99 } })).toEqual([
      { do: 'plan', state: 'active', reason: null },
      { do: 'start', step_id: 'a', round: 1, slot: 1 },
    ]);
  });
});

describe('when', () => {
  const left = step('b', { needs: ['f'], state: 'skipped', outcome: 'need_failed' });
  test.each<[string, StepFact[], string]>([
    ['all_ok', [done('a'), done('b')], 'start'],
    ['all_ok', [done('a'), failed('b')], 'skip need_failed'],
    ['all_ok', [running('a', {}), failed('b')], 'skip need_failed'],
    ['all_ok', [done('a'), step('b', { state: 'skipped', outcome: 'condition' })], 'skip need_skipped'],
    ['all_ok', [failed('f'), done('a'), left], 'skip need_failed'],
    ['any_failed', [done('a'), failed('b')], 'start'],
    ['any_failed', [failed('f'), done('a'), left], 'start'],
    ['any_failed', [done('a'), done('b')], 'skip condition'],
    ['any_failed', [running('a', {}), failed('b')], 'nothing'],
    ['always', [failed('a'), step('b', { state: 'skipped', outcome: 'condition' })], 'start'],
    ['always', [failed('a'), running('b', {})], 'nothing'],
  ])('%s', (when, needs, expected) => {
    const all = decide([...needs, step('z', { needs: ['a', 'b'], when: when as StepFact['when'] })]);
    const own = all.filter((each) => 'step_id' in each && each.step_id === 'z');
    expect(
      own.map((each) => [each.do, 'outcome' in each ? each.outcome : ''].join(' ').trim()).join() || 'nothing',
    ).toBe(expected);
  });

  test('one failure is passed on through the whole plan at once', () => {
    const chain = Array.from({ length: 50 }, (_, i) => step(`s${i + 1}`, { needs: [i === 0 ? 'a' : `s${i}`] }));
    const all = brief([running('a', { ...ended, cause: 'failed' }), ...chain]);
    expect(all).toHaveLength(52);
    expect(all.at(-1)).toBe('plan');
  });
});

describe('what becomes of a step', () => {
  test('the best of several attempts is kept: green, then small, then first; the others are archived', () => {
    const attempts = {
      ...running(
        'a',
        { ...ended, cause: 'failed' },
        { ...ended, diff_lines: 9 },
        { ...ended, diff_lines: 4 },
        { ...ended, diff_lines: 4 },
      ),
      attempts: 4,
    };
    expect(decide([attempts])[0]).toEqual({
      do: 'finish',
      step_id: 'a',
      session_id: 'a-3',
      archive: ['a-1', 'a-2', 'a-4'],
    });
    const unknown = { ...running('a', ended, { ...ended, diff_lines: 900 }), attempts: 2 };
    expect(decide([unknown])[0]).toMatchObject({ session_id: 'a-2', archive: ['a-1'] });
    const red = {
      ...running('a', { state: 'parked', waits_for: 'gate' } as const, { ...ended, diff_lines: 900 }),
      attempts: 2,
    };
    expect(decide([red])[0]).toMatchObject({ do: 'finish', session_id: 'a-2' });
  });

  test('it is not judged before all its attempts are through', () => {
    expect(brief([{ ...running('a', ended, {}), attempts: 2 }])).toEqual([]);
    expect(brief([{ ...running('a', ended, { state: 'parked', waits_for: 'time' } as const), attempts: 2 }])).toEqual([
      'park a',
    ]);
  });

  test('what is to be merged is done when it is merged, parked when it is refused', () => {
    const wants = { ...running('a', ended), merge: 'queue' as const };
    expect(decide([wants])).toEqual([{ do: 'merge', step_id: 'a', session_id: 'a-1', mode: 'queue' }]);
    const merging = (merge: 'none' | 'waiting' | 'merged' | 'refused', state: 'merging' | 'parked' = 'merging') => ({
      ...running('a', { ...ended, merge }),
      ...{ merge: 'queue' as const, state, session_id: 'a-1' },
    });
    expect(brief([merging('waiting')])).toEqual([]);
    expect(brief([merging('none')])).toEqual(['merge a']);
    expect(brief([merging('merged')])).toEqual(['finish a', 'plan']);
    expect(brief([merging('refused')])).toEqual(['park a', 'plan']);
    expect(brief([merging('refused', 'parked')], { state: 'parked' })).toEqual([]);
    expect(brief([merging('waiting', 'parked')], { state: 'parked' })).toEqual(['plan', 'merge a']);
    expect(brief([merging('merged', 'parked')], { state: 'parked' })).toEqual(['finish a', 'plan']);
  });

  test('a failure is tried again later and later, when it is one of those that are', () => {
    const lost = (round: number) => ({
      ...running('a', { ...ended, cause: 'lost' }),
      round,
      retry: { max: 8, on: ['lost'] as const },
    });
    for (const [round, wait] of [
      [1, 5_000],
      [2, 10_000],
      [8, 300_000],
    ] as const)
      expect(decide([lost(round)])).toEqual([
        { do: 'retry', step_id: 'a', round: round + 1, cause: 'lost', not_before_at: NOW + wait, stop: [] },
      ]);
    expect(brief([lost(9)])).toEqual(['fail a lost', 'plan']);
    expect(brief([{ ...lost(1), retry: { max: 8, on: ['gate'] } }])).toEqual(['fail a lost', 'plan']);
    expect(brief([step('a', { round: 2, not_before_at: NOW + 1 })])).toEqual([]);
    expect(brief([step('a', { round: 2, not_before_at: NOW })])).toEqual(['start a']);
  });

  test('a gate that stays red ends the try; the session keeps its work', () => {
    const red = running('a', { state: 'parked', waits_for: 'gate', reason: 'npm test: 2 failed' });
    expect(decide([red])[0]).toEqual({
      do: 'fail',
      step_id: 'a',
      outcome: 'gate',
      reason: 'npm test: 2 failed',
      archive: [],
    });
    expect(decide([{ ...red, retry: { max: 1, on: RETRY_CAUSES } }])[0]).toMatchObject({
      do: 'retry',
      cause: 'gate',
      stop: ['a-1'],
    });
  });

  test.each(FINAL_CAUSES)('%s is never tried again', (cause) => {
    const own = { ...running('a', { ...ended, cause }), retry: { max: 9, on: RETRY_CAUSES } };
    expect(brief([own])).toEqual([`fail a ${cause}`, 'plan']);
  });

  test('it is parked with its session, and goes on with it', () => {
    const wait = (waits_for: 'time' | 'person') =>
      running('a', { state: 'parked', waits_for, reason: 'usage_limit' } as const);
    expect(decide([wait('time')])).toEqual([{ do: 'park', step_id: 'a', reason: 'usage_limit' }]);
    expect(brief([wait('person')])).toEqual(['park a', 'plan']);
    expect(brief([{ ...running('a', {}), state: 'parked' }], { state: 'parked' })).toEqual(['plan', 'unpark a']);
  });
});

describe('groups', () => {
  const group = (more: Partial<StepFact> = {}) => step('g', { kind: 'group', ...more });
  const of = (...members: StepFact[]) => members.map((each, n) => ({ ...each, id: `g.${n + 1}`, group_id: 'g' }));

  test('a group ends with its last member, as the worst of them', () => {
    expect(brief([...of(done('x'), running('y', {})), group()])).toEqual([]);
    expect(brief([...of(done('x'), done('y')), group()])).toEqual(['finish g', 'plan']);
    expect(brief([...of(done('x'), failed('y')), group()])).toEqual(['fail g group', 'plan']);
    const skipped = step('x', { needs: ['f'], state: 'skipped', outcome: 'need_failed' });
    expect(brief([failed('f'), ...of(skipped, skipped), group()])).toEqual(['skip g need_failed', 'plan']);
  });

  test('a list fans out once its step is done; what is no list is a failure; an empty one is done', () => {
    const over = (more: Partial<StepFact>) => [done('l'), group({ foreach: 'l', needs: ['l'], ...more })];
    expect(brief(over({ list: { items: 3 } }))).toEqual(['fan_out g']);
    expect(decide(over({ list: { problem: 'no JSON list' } }))[0]).toMatchObject({
      do: 'fail',
      outcome: 'fan_out',
      reason: 'no JSON list',
    });
    expect(brief(over({ list: { items: 0 }, state: 'running' }))).toEqual(['finish g', 'plan']);
    expect(brief([failed('l'), group({ foreach: 'l', needs: ['l'] })])).toEqual(['skip g need_failed', 'plan']);
  });

  test('a failed group is one failure of its member, not two', () => {
    const steps = [...of(failed('x')), group({ state: 'failed', outcome: 'group' }), step('z')];
    expect(brief(steps, { stop_when: { failed_steps: 2, cost_micros: null, quota_left: null } })).toEqual(['start z']);
  });
});

describe('what ends a plan early', () => {
  const rest = { failed_steps: null, cost_micros: null, quota_left: null };
  test.each<[string, Partial<PlanFacts['plan']>, Parameters<typeof facts>[2]]>([
    ['on_failure', { on_failure: 'stop' }, {}],
    ['failed_steps', { stop_when: { ...rest, failed_steps: 1 } }, {}],
    ['usd', { stop_when: { ...rest, cost_micros: 5 } }, { spent: { cost_micros: 5, tokens: 0 } }],
    ['quota_left', { stop_when: { ...rest, quota_left: 0.1 } }, { quota_left: 0.1 }],
  ])('%s: nothing new starts, what runs may finish', (cause, plan, more) => {
    expect(decide([failed('a'), running('b', {}), step('c')], plan, more)).toEqual([
      { do: 'stop', cause: cause as 'usd' },
      { do: 'skip', step_id: 'c', outcome: 'stopped' },
    ]);
    expect(decide([failed('a'), done('b')], { ...plan, stopping: cause as 'usd' }, more)).toEqual([
      { do: 'plan', state: 'failed', reason: cause },
    ]);
  });

  test('below the bound nothing stops; a share that nobody knows stops nothing', () => {
    const plan = { stop_when: { failed_steps: 2, cost_micros: 5, quota_left: 0.1 } };
    for (const quota_left of [null, 0.11])
      expect(brief([failed('a'), step('c')], plan, { quota_left, spent: { cost_micros: 4, tokens: 9 } })).toEqual([
        'start c',
      ]);
  });

  test('after a failure, steps that were written for one still come', () => {
    const steps = [
      failed('a'),
      step('c', { needs: ['a'], when: 'any_failed' }),
      step('d', { needs: ['c'], when: 'always' }),
      step('e'),
    ];
    expect(brief(steps, { on_failure: 'stop' })).toEqual(['stop', 'start c', 'skip e stopped']);
    expect(brief(steps, { stopping: 'usd' })).toEqual(['skip c stopped', 'skip d stopped', 'skip e stopped', 'plan']);
  });

  test('what was to be tried again has failed, and is not called skipped', () => {
    const again = step('a', { round: 2, outcome: 'lost', not_before_at: NOW + 9 });
    expect(brief([again], { stopping: 'usd' })).toEqual(['fail a lost', 'plan']);
    const now = { ...running('a', { ...ended, cause: 'lost' }), retry: { max: 1, on: RETRY_CAUSES } };
    expect(brief([now, failed('b')], { on_failure: 'stop' })).toEqual(['retry a', 'stop', 'fail a lost', 'plan']);
  });
});

const FATES: Fate[] = ['ok', 'ok', 'ok', 'fail', 'lost', 'stopped', 'park_time', 'park_person', 'gate'];
const graph = fc.array(
  fc.record({
    needs: fc.array(fc.nat(), { maxLength: 3 }),
    when: fc.constantFrom('all_ok' as const, 'all_ok' as const, 'any_failed' as const, 'always' as const),
    attempts: fc.constantFrom(1, 1, 2, 3),
    retry: fc.nat(2),
    merge: fc.constantFrom('none' as const, 'none' as const, 'queue' as const),
    pool: fc.constantFrom('p', 'q'),
    foreach: fc.option(fc.nat(), { freq: 6 }),
  }),
  { minLength: 1, maxLength: 18 },
);

test('any plan, whatever happens to it: no step before its needs, none twice, and it always comes to an end (I9, C-12)', () => {
  const plan = fc.record({
    concurrency: fc.integer({ min: 1, max: 4 }),
    on_failure: fc.constantFrom('continue' as const, 'stop' as const),
    pools: fc.constantFrom({}, { p: 1 }),
    stop: fc.option(fc.integer({ min: 1, max: 3 }), { freq: 4 }),
    window: fc.option(fc.constantFrom('finish' as const, 'park' as const), { freq: 4 }),
  });
  fc.assert(
    fc.property(graph, plan, fc.nat(), (raw, { stop, window, ...rest }, seed) => {
      const steps = raw.map(({ needs, retry, foreach, when, ...own }, i) => {
        const list = foreach === null || i === 0 ? null : `s${foreach % i}`;
        const ids = i === 0 ? [] : needs.map((n) => `s${n % i}`);
        return step(`s${i}`, {
          ...{ ...own, retry: { max: retry, on: RETRY_CAUSES }, foreach: list, kind: list === null ? 'task' : 'group' },
          ...{ needs: [...new Set(list === null ? ids : [...ids, list])], when: list === null ? when : 'all_ok' },
        });
      });
      const world = new PlanWorld(
        facts(steps, {
          ...rest,
          stop_when: { failed_steps: stop, cost_micros: null, quota_left: null },
          window:
            window === null ? null : { start: '22:00', stop: '06:00', timezone: 'Europe/Berlin', running: window },
        }),
      );
      let dice = seed;
      const roll = () => {
        dice = (Math.imul(dice, 1_664_525) + 1_013_904_223) >>> 0;
        return dice >>> 8;
      };
      let left = 3_000;
      // So often a person takes up a step that has failed, while the plan goes on or when it has ended.
      let resumes = roll() % 6;
      for (; left > 0; left--) {
        const hasEnded = ['completed', 'failed'].includes(world.facts.plan.state);
        const failed = world.facts.steps.filter(({ state, sessions }) => state === 'failed' && sessions.length > 0);
        const back = failed[roll() % Math.max(1, failed.length)];
        if (resumes > 0 && back !== undefined && (hasEnded || roll() % 5 === 0)) {
          resumes -= 1;
          world.takeUp(back.id, back.sessions[roll() % back.sessions.length]?.id ?? '');
        } else if (hasEnded) break;
        world.turn();
        if (roll() % 2 === 0) world.begin();
        for (const { id, is_begun } of world.live())
          if (is_begun && roll() % 3 === 0) world.befall(id, FATES[roll() % FATES.length] ?? 'ok');
        const list = roll() % 9 === 0 ? { problem: 'no list' } : { items: roll() % 4 };
        world.settle(world.facts.plan.state === 'parked', list, roll() % 4 === 0);
        world.now += (roll() % 30) * 60_000;
      }
      expect(left).toBeGreaterThan(0);
      const states = world.facts.steps.map(({ state }) => state);
      for (const state of states) expect(['done', 'failed', 'skipped']).toContain(state);
      const isBad = states.includes('failed') || world.facts.plan.stopping !== null;
      expect(world.facts.plan.state).toBe(isBad ? 'failed' : 'completed');
    }),
    { numRuns: 100 },
  );
}, 180_000);

test('10,000 steps are looked at in one pass, however they hang together', () => {
  const wide = [done('a'), ...Array.from({ length: 9_999 }, (_, i) => step(`s${i}`, { needs: ['a'] }))];
  expect(decide(wide, { concurrency: 8 })).toHaveLength(8);
  const long = [failed('s0'), ...Array.from({ length: 9_999 }, (_, i) => step(`s${i + 1}`, { needs: [`s${i}`] }))];
  expect(decide(long)).toHaveLength(10_000);
});

test('a plan whose lists had more items than their caps says so when it is done', () => {
  const done = (id: string, more: Partial<StepFact> = {}) => step(id, { state: 'done', ...more });
  const group = (id: string, dropped: number) => done(id, { kind: 'group', dropped });
  const end = (steps: StepFact[]) => advance(facts(steps), 5).decisions;
  const said = (state: string, reason: string | null) =>
    [{ do: 'plan', state, reason }] as unknown as ReturnType<typeof end>;
  expect(end([done('a'), group('fix', 3), group('mend', 1)])).toEqual(
    said('completed', '3 items of fix, 1 item of mend left out'),
  );
  expect(end([done('a'), group('fix', 0)])).toEqual(said('completed', null));
  expect(end([step('a', { state: 'failed' }), group('fix', 3)])).toEqual(said('failed', '1 of 1 steps failed'));
});
