import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { checkTimers, type TimerFacts } from '../../src/watchdog/timers.ts';

const { turn } = DEFAULT_CONFIG;
const START = 1_000_000_000_000;

function facts(over: Partial<TimerFacts> = {}): TimerFacts {
  return {
    process: 'alive',
    started_at: START,
    first_event_at: START,
    last_event_at: START,
    result_at: null,
    tools_open: 0,
    end_cause: null,
    timeout_ms: null,
    early_first_event: true,
    log_bytes: 0,
    awake_since: START,
    ...over,
  };
}

const at = (over: Partial<TimerFacts>, after_ms: number) => checkTimers(facts(over), DEFAULT_CONFIG, START + after_ms);

describe('one verdict per cause, thresholds strict (O-53, O-68, MODEL §2.7)', () => {
  const silent = { first_event_at: null, last_event_at: null };
  const cases: [what: string, over: Partial<TimerFacts>, limit_ms: number, act: string, cause: string | null][] = [
    ['no first event', silent, turn.first_event_ms, 'end', 'first_event'],
    [
      'no first event of a late starter',
      { ...silent, early_first_event: false },
      turn.first_event_late_ms,
      'end',
      'first_event',
    ],
    ['silent', {}, turn.between_events_ms, 'end', 'silent'],
    ['a tool runs', { tools_open: 1 }, turn.tool_ms, 'end', 'silent'],
    ['alive after the result', { result_at: START }, turn.after_result_ms, 'end', 'lingering'],
    ['over its own time', { timeout_ms: 5_000, tools_open: 1 }, 5_000, 'end', 'timeout'],
  ];
  for (const [what, over, limit_ms, act, cause] of cases) {
    test(`${what}: exactly at the limit is fine, one millisecond more is not`, () => {
      expect(at(over, limit_ms).act).toBe('none');
      expect(at(over, limit_ms + 1)).toMatchObject({ act, cause });
    });
  }
});

test('what came while the observer was looking is no clock that went back: nobody is ended for speaking', () => {
  const now = START + 10 * turn.tool_ms;
  const spoken = { started_at: now - 1_000, first_event_at: now - 900, last_event_at: now + 1, awake_since: START };
  for (const over of [{}, { tools_open: 1 }, { result_at: now + 1 }]) {
    expect(checkTimers(facts({ ...spoken, ...over }), DEFAULT_CONFIG, now).act).toBe('none');
  }
  // An hour ahead it is one: then it counts from when somebody looked.
  const jumped = facts({ ...spoken, last_event_at: now + 3_600_000 });
  expect(checkTimers(jumped, DEFAULT_CONFIG, now)).toMatchObject({ act: 'end', cause: 'silent' });
});

test('a proven death beats every other fact', () => {
  expect(at({ process: 'gone', end_cause: 'stop', result_at: START }, 10 * turn.tool_ms)).toMatchObject({
    act: 'settle',
    health: 'dead',
  });
});

test('what somebody decided is carried out whatever the age', () => {
  expect(at({ end_cause: 'interrupt' }, 0)).toMatchObject({ act: 'end', cause: 'interrupt' });
});

test('a log beyond its bound ends the turn', () => {
  expect(at({ log_bytes: turn.max_log_bytes }, 0).act).toBe('none');
  expect(at({ log_bytes: turn.max_log_bytes + 1 }, 0)).toMatchObject({ act: 'end', cause: 'log_limit' });
});

test('silence before we woke up proves nothing: after a gap every age starts anew', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 ** 9 }), fc.constantFrom(0, 1), (gap, tools_open) => {
      const woke = START + gap;
      expect(
        checkTimers(facts({ awake_since: woke, tools_open, timeout_ms: 60_000 }), DEFAULT_CONFIG, woke + 1).act,
      ).toBe('none');
    }),
  );
});

test('an instant that a clock put into the future counts from when somebody looked', () => {
  const future = { first_event_at: START + 10 ** 9, last_event_at: START + 10 ** 9, awake_since: START };
  expect(at(future, turn.between_events_ms).act).toBe('none');
  expect(at(future, turn.between_events_ms + 1)).toMatchObject({ act: 'end', cause: 'silent' });
});

test('where nobody knows since when he looked, such an instant counts as now', () => {
  const future = { first_event_at: START + 10 ** 9, last_event_at: START + 10 ** 9, awake_since: 0 };
  expect(at(future, 0).act).toBe('none');
});

test('a margin is added to every timer, and to none that is off', () => {
  const late = (over: Partial<TimerFacts>, after_ms: number) =>
    checkTimers(facts(over), DEFAULT_CONFIG, START + after_ms, 5_000).act;
  expect(late({ result_at: START }, turn.after_result_ms + 5_000)).toBe('none');
  expect(late({ result_at: START }, turn.after_result_ms + 5_001)).toBe('end');
  expect(late({ timeout_ms: 1_000 }, 6_000)).toBe('none');
  expect(late({ timeout_ms: 1_000 }, 6_001)).toBe('end');
  expect(late({}, turn.between_events_ms + 5_000)).toBe('none');
  expect(late({}, turn.between_events_ms + 5_001)).toBe('end');
  const off = { turn: { ...turn, between_events_ms: 0 } };
  expect(checkTimers(facts(), off, START + 10 ** 10, 5_000).act).toBe('none');
});

test('a healthy turn is never ended, whatever its state of tools', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: turn.between_events_ms }), fc.nat(3), (age, tools_open) => {
      expect(at({ tools_open }, age).act).toBe('none');
    }),
  );
});
