import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  afterFailure,
  type DueDecision,
  due,
  MAX_FAILURES,
  type Occurrences,
  type ScheduleFact,
} from '../../src/model/schedule.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOW = 1_000_000 * HOUR;

/** Every `step`, on the multiples of it. */
const every = (step: number): Occurrences & { asked: number } => ({
  asked: 0,
  next(after) {
    this.asked += 1;
    return (Math.floor(after / step) + 1) * step;
  },
});
const fact = (
  more: Partial<ScheduleFact['schedule']> = {},
  rest: Partial<Omit<ScheduleFact, 'schedule'>> = {},
): ScheduleFact => ({
  schedule: {
    ...{
      id: 'a',
      overlap: 'skip',
      catch_up: 'latest',
      catch_up_max: 3,
      next_run_at: NOW,
      backoff_until_at: null,
      is_enabled: 1,
    },
    ...more,
  },
  ...{ is_running: false, waiting: [], occurrences: every(HOUR), halted: null, ...rest },
});
const decide = (each: ScheduleFact, now = NOW): DueDecision => {
  const [decision] = due([each], now, 10);
  if (decision === undefined) throw new Error('nothing is due');
  return decision;
};
const told = (decision: DueDecision) =>
  decision.entries.map(({ state, due_at, times }) => [state, (due_at - NOW) / HOUR, times]);

test('one due time fires once, and the next one is in the future (E-058)', () => {
  expect(decide(fact(), NOW + 500)).toEqual({
    ...{ schedule_id: 'a', was: NOW, next_run_at: NOW + HOUR, release: null, replace: false },
    entries: [{ due_at: NOW, until_at: NOW, times: 1, state: 'fired', reason: null }],
  });
  expect(due([fact({ next_run_at: NOW + 1 }), fact({ next_run_at: null }), fact({ is_enabled: 0 })], NOW, 10)).toEqual(
    [],
  );
});

test('oldest first, then by id; the limit bounds a pass (E-059)', () => {
  const all = [fact({ id: 'c' }), fact({ id: 'b', next_run_at: NOW - 1 }), fact({ id: 'a' })];
  expect(due(all, NOW, 10).map(({ schedule_id }) => schedule_id)).toEqual(['b', 'a', 'c']);
  expect(due(all, NOW, 2)).toHaveLength(2);
});

describe('times that were passed over (E-059)', () => {
  const late = (catch_up: 'none' | 'latest' | 'all', hours = 8) =>
    decide(fact({ catch_up }), NOW + hours * HOUR + 30 * MINUTE);
  test('latest: one run makes up for all of them', () => {
    expect(told(late('latest'))).toEqual([
      ['missed', 0, 8],
      ['fired', 8, 1],
    ]);
    expect(late('latest').next_run_at).toBe(NOW + 9 * HOUR);
  });
  test('none: they are written down, and nothing runs but what is on time', () => {
    expect(told(late('none'))).toEqual([['missed', 0, 9]]);
    expect(told(decide(fact({ catch_up: 'none' }), NOW + 8 * HOUR + 500))).toEqual([
      ['missed', 0, 8],
      ['fired', 8, 1],
    ]);
  });
  test('all: the last ones, as many as the bound says; one runs and the policy says what becomes of the rest', () => {
    expect(told(late('all'))).toEqual([
      ['missed', 0, 6],
      ['fired', 6, 1],
      ['skipped', 7, 1],
      ['skipped', 8, 1],
    ]);
    expect(told(decide(fact({ catch_up: 'all', overlap: 'queue' }), NOW + 8 * HOUR))).toEqual([
      ['missed', 0, 6],
      ['fired', 6, 1],
      ['waiting', 7, 1],
      ['waiting', 8, 1],
    ]);
  });
  test('after 8 hours of sleep a schedule of every second is not walked through', () => {
    const seconds = every(1_000);
    const decision = decide(fact({}, { occurrences: seconds }), NOW + 8 * HOUR + 200);
    expect(told(decision)).toEqual([
      ['missed', 0, null],
      ['fired', 8, 1],
    ]);
    expect(decision.entries[0]?.until_at).toBeLessThan(NOW + 8 * HOUR);
    expect(seconds.asked).toBeLessThan(300);
  });
});

describe('what overlaps', () => {
  const busy = (more: Partial<ScheduleFact['schedule']>, waiting: number[] = []) =>
    decide(fact(more, { is_running: true, waiting }));
  test('is skipped', () => expect(told(busy({ overlap: 'skip' }))).toEqual([['skipped', 0, 1]]));
  test('waits, one at most, and goes when the one before has ended', () => {
    expect(told(busy({ overlap: 'queue' }))).toEqual([['waiting', 0, 1]]);
    expect(told(busy({ overlap: 'queue' }, [NOW - HOUR]))).toEqual([['skipped', 0, 1]]);
    const free = fact({ overlap: 'queue', next_run_at: NOW + HOUR }, { waiting: [NOW - HOUR] });
    expect(decide(free)).toMatchObject({ release: NOW - HOUR, entries: [], next_run_at: NOW + HOUR });
    const both = fact({ overlap: 'queue' }, { waiting: [NOW - HOUR] });
    expect(decide(both)).toMatchObject({ release: NOW - HOUR, entries: [{ state: 'waiting', due_at: NOW }] });
  });
  test('replaces what runs, and of several times the last one does', () => {
    const decision = decide(fact({ overlap: 'replace', catch_up: 'all' }, { is_running: true }), NOW + 8 * HOUR);
    expect(told(decision).map(([state]) => state)).toEqual(['missed', 'skipped', 'skipped', 'fired']);
    expect(decision.replace).toBe(true);
    expect(decide(fact({ overlap: 'replace' })).replace).toBe(false);
  });
});

describe('a schedule that cannot start anything (CX-35)', () => {
  test('waits longer and longer, and is switched off at the fifth failure', () => {
    let row = { fail_count: 0 };
    const waits = Array.from({ length: MAX_FAILURES }, () => {
      const after = afterFailure(row, NOW);
      row = after;
      return after.is_enabled === 1 ? ((after.backoff_until_at ?? 0) - NOW) / MINUTE : 'off';
    });
    expect(waits).toEqual([1, 4, 16, 60, 'off']);
  });
  test('skips its times meanwhile, and says so', () => {
    expect(decide(fact({ backoff_until_at: NOW + 1 })).entries[0]).toMatchObject({
      state: 'skipped',
      reason: 'it failed before and waits',
    });
    expect(decide(fact({ backoff_until_at: NOW })).entries[0]?.state).toBe('fired');
  });
});

test('however late it is, every time is in exactly one entry, the next one lies ahead, and at most one starts', () => {
  const policy = fc.record({
    catch_up: fc.constantFrom('none' as const, 'latest' as const, 'all' as const),
    overlap: fc.constantFrom('skip' as const, 'queue' as const, 'replace' as const),
    catch_up_max: fc.integer({ min: 1, max: 6 }),
  });
  fc.assert(
    fc.property(policy, fc.nat(60), fc.nat(HOUR - 1), fc.boolean(), (more, hours, rest, is_running) => {
      const now = NOW + hours * HOUR + rest;
      const decision = decide(fact(more, { is_running }), now);
      expect(decision.next_run_at ?? 0).toBeGreaterThan(now);
      expect(decision.entries.reduce((sum, { times }) => sum + (times ?? 0), 0)).toBe(hours + 1);
      expect(decision.entries.filter(({ state }) => state === 'fired').length).toBeLessThanOrEqual(1);
      for (const [i, { due_at, until_at }] of decision.entries.entries()) {
        expect(until_at).toBeGreaterThanOrEqual(due_at);
        expect(due_at).toBeGreaterThan(decision.entries[i - 1]?.until_at ?? NOW - 1);
      }
    }),
  );
});

test('what was due in a halt is no more on time, is made up for as catch_up says, and says why (E-060)', () => {
  const halted = { from: NOW - 1, until: NOW + 2 * HOUR + 1_000 };
  const after = NOW + 2 * HOUR + 30_000;
  const of = (catch_up: ScheduleFact['schedule']['catch_up']) =>
    decide(fact({ catch_up }, { halted }), after).entries.map(({ state, due_at, times, reason }) => [
      ...[state, (due_at - NOW) / HOUR, times, reason],
    ]);
  const why = 'it was due while everything was halted';
  expect(of('none')).toEqual([['missed', 0, 3, 'everything was halted at that time']]);
  expect(of('latest')).toEqual([
    ['missed', 0, 2, 'passed over: a later one makes up for it'],
    ['fired', 2, 1, why],
  ]);
  expect(of('all').map(([state, , , reason]) => [state, reason])).toEqual([
    ['fired', why],
    ['skipped', 'the one before has not ended'],
    ['skipped', 'the one before has not ended'],
  ]);
  // Due after it: as ever.
  expect(
    decide(fact({ catch_up: 'none' }, { halted: { from: NOW - HOUR, until: NOW - 1 } }), NOW + 500).entries,
  ).toEqual([{ due_at: NOW, until_at: NOW, times: 1, state: 'fired', reason: null }]);
});
