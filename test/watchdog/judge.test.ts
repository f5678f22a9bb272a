import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { judge, type TurnFacts } from '../../src/watchdog/judge.ts';

const { turn, watchdog } = DEFAULT_CONFIG;
const START = 1_000_000_000_000;

function facts(over: Partial<TurnFacts> = {}): TurnFacts {
  return {
    state: 'working',
    process: 'alive',
    started_at: START,
    first_event_at: START,
    last_event_at: START,
    result_at: null,
    tools_open: 0,
    end_cause: null,
    timeout_ms: null,
    early_first_event: true,
    is_persistent: false,
    log_bytes: 0,
    awake_since: START,
    ...over,
  };
}

const at = (over: Partial<TurnFacts>, after_ms: number) => judge(facts(over), DEFAULT_CONFIG, START + after_ms);

describe('one verdict per cause, thresholds strict (O-53, O-68, MODEL §2.7)', () => {
  const silent = { first_event_at: null, last_event_at: null };
  const cases: [what: string, over: Partial<TurnFacts>, limit_ms: number, act: string, cause: string | null][] = [
    ['no first event', silent, turn.first_event_ms, 'end', 'first_event'],
    [
      'no first event of a late starter',
      { ...silent, early_first_event: false },
      turn.first_event_late_ms,
      'end',
      'first_event',
    ],
    ['silent: stalled', {}, watchdog.stale_ms, 'stall', null],
    ['silent: ended', { state: 'stalled' }, turn.between_events_ms, 'end', 'silent'],
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

test('zombie age ends a turn where the in-turn timer is off', () => {
  const limits = { ...DEFAULT_CONFIG, turn: { ...turn, between_events_ms: 0 } };
  expect(judge(facts({ state: 'stalled' }), limits, START + watchdog.zombie_ms).act).toBe('none');
  expect(judge(facts({ state: 'stalled' }), limits, START + watchdog.zombie_ms + 1)).toMatchObject({
    act: 'end',
    cause: 'stuck',
  });
});

test('a proven death beats every other fact', () => {
  expect(at({ process: 'gone', end_cause: 'stop', result_at: START }, 10 * turn.tool_ms)).toMatchObject({
    act: 'settle',
    health: 'dead',
  });
});

test('a verdict is health, act, cause and evidence; a process of which nothing is known is not called dead (O-33)', () => {
  expect(at({ process: 'unknown' }, 0)).toEqual({ health: 'ok', act: 'none', cause: null, evidence: 'events arrive' });
  const late = at({ process: 'unknown' }, watchdog.stale_ms + 1);
  expect(late).toMatchObject({ health: 'late', act: 'stall', cause: null });
  expect(late.evidence).toContain(`${watchdog.stale_ms + 1} ms`);
  expect(at({ process: 'gone' }, 0)).toMatchObject({ health: 'dead', act: 'settle' });
});

test('what somebody decided is carried out whatever the age', () => {
  expect(at({ end_cause: 'interrupt' }, 0)).toMatchObject({ act: 'end', cause: 'interrupt' });
});

test('persistent roles are exempt from the age rules but not from the in-turn timer', () => {
  expect(at({ is_persistent: true }, watchdog.stale_ms + 1).act).toBe('none');
  expect(at({ is_persistent: true }, turn.between_events_ms + 1).act).toBe('end');
});

test('a log beyond its bound ends the turn', () => {
  expect(at({ log_bytes: turn.max_log_bytes }, 0).act).toBe('none');
  expect(at({ log_bytes: turn.max_log_bytes + 1 }, 0)).toMatchObject({ act: 'end', cause: 'log_limit' });
});

test('silence before we woke up proves nothing: after a gap every age starts anew', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 ** 9 }), fc.constantFrom(0, 1), (gap, tools_open) => {
      const woke = START + gap;
      expect(judge(facts({ awake_since: woke, tools_open, timeout_ms: 60_000 }), DEFAULT_CONFIG, woke + 1).act).toBe(
        'none',
      );
    }),
  );
});

test('no instant and no facts make it throw, and a healthy turn is never ended', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: watchdog.stale_ms }), fc.boolean(), (age, is_persistent) => {
      expect(at({ is_persistent }, age).act).toBe('none');
    }),
  );
});
