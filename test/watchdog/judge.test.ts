import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { judge, OVERDUE_MS, UNCHANGED_TOKENS, type WatchFacts } from '../../src/watchdog/judge.ts';
import { factsOf, START, turn, watchdog } from './watch-facts.ts';

/** The supervisor's timers are off: what is left is the watchdog's own. */
const { gate } = DEFAULT_CONFIG;
const LIMITS = { watchdog, gate, turn: { ...turn, between_events_ms: 0, first_event_ms: 0, tool_ms: 0 } };
const at = (over: Partial<WatchFacts>, after_ms: number, limits = LIMITS) =>
  judge(factsOf(over), limits, START + after_ms);

describe('age: strict thresholds, one verdict each (O-68, E-079, E-081, MODEL §2.7)', () => {
  test.each([
    ['late', 'climb', watchdog.stale_ms],
    ['stuck', 'terminate', watchdog.zombie_ms],
  ] as const)('%s: exactly at the limit it is not, one millisecond more it is', (health, act, limit) => {
    expect(at({}, limit).health).not.toBe(health);
    expect(at({}, limit + 1)).toMatchObject({ health, act, cause: 'silent' });
    expect(at({}, limit + 1).evidence).toContain(`${limit + 1} ms`);
  });

  test('silence counts from the newest sign: an event, unread output, a child at work', () => {
    const long = watchdog.zombie_ms + 1;
    for (const sign of [
      { last_event_at: START + long },
      { written_at: START + long },
      { child_event_at: START + long },
    ])
      expect(at(sign, long + watchdog.stale_ms).health).toBe('ok');
    expect(at({ written_at: START, child_event_at: START }, long).health).toBe('stuck');
  });

  test('before the first event it counts from the start', () => {
    expect(at({ first_event_at: null, last_event_at: null }, watchdog.stale_ms + 1).health).toBe('late');
  });

  test('persistent roles and open tools are exempt, and only from age', () => {
    for (const over of [{ is_persistent: true }, { tools_open: 1 }]) {
      expect(at(over, 10 * watchdog.zombie_ms).health).toBe('ok');
      expect(at({ ...over, process: 'gone' }, 0).health).toBe('dead');
      expect(at({ ...over, repetition: { period: 1, times: 99, last_at: START } }, 0).health).toBe('looping');
    }
  });

  test('silence after a limit is the provider’s: no ladder, and at last the end of a turn that a limit ended', () => {
    expect(at({ is_limited: true }, watchdog.zombie_ms)).toMatchObject({ health: 'ok', act: 'none' });
    expect(at({ is_limited: true }, watchdog.zombie_ms + 1)).toMatchObject({ act: 'end', cause: 'silent' });
  });
});

describe('observable state comes first (O-67)', () => {
  test('a proven death beats every other fact, and is the supervisor’s to settle', () => {
    const facts = { process: 'gone', end_cause: 'stop', repetition: { period: 1, times: 99, last_at: START } } as const;
    expect(at(facts, 10 * watchdog.zombie_ms)).toMatchObject({ health: 'dead', act: 'ring', cause: 'gone' });
    expect(at({ process: 'unknown' }, 0).health).toBe('ok');
  });

  test('what somebody decided is carried out by the watchdog when nobody else does', () => {
    const patience = OVERDUE_MS + turn.sigkill_delay_ms;
    const ending = { end_cause: 'interrupt', ending_since: START } as const;
    expect(at({ ...ending, ending_since: null }, 10 * patience).act).toBe('none');
    expect(at(ending, patience).act).toBe('none');
    expect(at(ending, patience + 1)).toMatchObject({ health: 'stuck', act: 'end', cause: 'interrupt' });
  });

  test('a timer that nobody acted on, after a margin (O-53)', () => {
    const limit = turn.between_events_ms + OVERDUE_MS;
    const persistent = { is_persistent: true };
    expect(at(persistent, limit, DEFAULT_CONFIG).act).toBe('none');
    expect(at(persistent, limit + 1, DEFAULT_CONFIG)).toMatchObject({ act: 'end', cause: 'silent' });
    expect(at({ ...persistent, written_at: START + 1 }, limit + 1, DEFAULT_CONFIG).act).toBe('none');
  });

  test('alive after its result: lingering, and ended when the supervisor does not', () => {
    const result = { result_at: START };
    expect(at(result, turn.after_result_ms).health).toBe('ok');
    expect(at(result, turn.after_result_ms + 1)).toMatchObject({ health: 'lingering', act: 'none' });
    expect(at(result, turn.after_result_ms + OVERDUE_MS + 1)).toMatchObject({ health: 'lingering', act: 'end' });
    // A turn with a result is not late, however long the grace for it is.
    const long = { ...LIMITS, turn: { ...LIMITS.turn, after_result_ms: 10 ** 9 } };
    expect(at(result, watchdog.zombie_ms + 1, long).health).toBe('ok');
  });
});

describe('a row that the supervisor has not kept up says nothing about its turn', () => {
  const behind = { has_unread_lines: true, tools_open: 1, written_at: START };
  const long = 10 * turn.tool_ms;

  test('whatever it says of tools, silence or a result, the supervisor is rung and nobody is ended', () => {
    for (const over of [
      {},
      { tools_open: 0 },
      { result_at: START },
      { first_event_at: null, last_event_at: null },
      { is_limited: true },
      { repetition: { period: 1, times: 99, last_at: START } },
      { unchanged_tokens: UNCHANGED_TOKENS + 1 },
    ])
      expect(at({ ...behind, ...over }, long, DEFAULT_CONFIG)).toMatchObject({ health: 'ok', act: 'ring' });
    // It has a moment to read; and the start of a line is none yet.
    expect(at({ ...behind, result_at: START }, 5_000).act).toBe('none');
    expect(at({ ...behind, result_at: START }, 5_001).act).toBe('ring');
    expect(at({ ...behind, has_unread_lines: false }, long, DEFAULT_CONFIG)).toMatchObject({ act: 'end' });
  });

  test('what does not hang on events holds: its own time limit, the size of its log, a decided end, a gone process', () => {
    expect(at({ ...behind, timeout_ms: 1_000 }, long)).toMatchObject({ act: 'end', cause: 'timeout' });
    const log = { ...behind, log_bytes: turn.max_log_bytes + 1 };
    expect(at(log, long)).toMatchObject({ act: 'end', cause: 'log_limit' });
    expect(at({ ...behind, end_cause: 'stop', ending_since: START }, long)).toMatchObject({
      act: 'end',
      cause: 'stop',
    });
    expect(at({ ...behind, process: 'gone' }, long)).toMatchObject({ health: 'dead', act: 'ring' });
  });
});

describe('behaviour (fault 49)', () => {
  test('the same call so often in a row, or a cycle twice as long', () => {
    const times = watchdog.loop_repeats;
    expect(at({ repetition: { period: 1, times: times - 1, last_at: START } }, 0).health).toBe('ok');
    expect(at({ repetition: { period: 1, times, last_at: START } }, 0)).toMatchObject({
      health: 'looping',
      cause: 'repetition',
    });
    expect(at({ repetition: { period: 2, times: times - 1, last_at: START } }, 0).health).toBe('ok');
    expect(at({ repetition: { period: 2, times, last_at: START } }, 0)).toMatchObject({
      health: 'looping',
      act: 'climb',
    });
  });

  test('tokens without a change of the tree', () => {
    expect(at({ unchanged_tokens: UNCHANGED_TOKENS }, 0).health).toBe('ok');
    expect(at({ unchanged_tokens: UNCHANGED_TOKENS + 1 }, 0)).toMatchObject({ health: 'looping', cause: 'no_change' });
  });
});

test('silence before we looked proves nothing: after a gap or a jump every age starts anew (fault 13)', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -(10 ** 9), max: 10 ** 9 }),
      fc.boolean(),
      fc.option(fc.constant(START)),
      (shift, is_limited, result_at) => {
        const now = START + shift;
        const facts = { awake_since: now, is_limited, result_at, timeout_ms: 60_000, ending_since: START };
        expect(judge(factsOf(facts), DEFAULT_CONFIG, now + 1).act).toBe('none');
      },
    ),
  );
});

describe('a turn whose gate runs waits for nobody else', () => {
  const GONE = { process: 'gone', result_at: START, gating_since: START } as const;
  const LONG = gate.timeout_ms + 60_000;
  test.each<[string, Partial<WatchFacts>]>([
    ['its process is gone', GONE],
    ['it lingered, and drover has ended it', { ...GONE, end_cause: 'lingering', ending_since: START }],
    ['from its row alone', { ...GONE, process: 'unknown' }],
    ['its output is not read', { ...GONE, process: 'alive', has_unread_lines: true }],
  ])('%s: well as long as the gate may run, and a fault after that', (_what, facts) => {
    const evidence = `its gate has run for ${LONG} ms`;
    expect(at(facts, LONG)).toEqual({ health: 'ok', cause: null, act: 'none', evidence });
    expect(at(facts, LONG + 1)).not.toMatchObject({ health: 'ok', act: 'none' });
    expect(at({ ...facts, gating_since: null }, LONG)).not.toMatchObject({ health: 'ok', act: 'none' });
  });
});

test('no facts make it throw', () => {
  const instant = fc.option(fc.integer(), { nil: null });
  const facts = fc.record({
    ...{ started_at: fc.integer(), first_event_at: instant, last_event_at: instant, result_at: instant },
    ...{ written_at: instant, child_event_at: instant, ending_since: instant, awake_since: fc.integer() },
    ...{ tools_open: fc.integer(), is_limited: fc.boolean(), unchanged_tokens: instant },
  });
  fc.assert(
    fc.property(facts, fc.integer(), (over, now) => {
      expect(judge(factsOf(over), DEFAULT_CONFIG, now).evidence).not.toBe('');
    }),
  );
});
