import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { type Climb, escalate } from '../../src/watchdog/escalate.ts';
import type { WatchVerdict } from '../../src/watchdog/judge.ts';
import { climbOf, factsOf, rung, START, watchdog } from './watch-facts.ts';

const { nudge_interval_ms, stale_ms } = watchdog;
const DUE = START + nudge_interval_ms + 1;
const step = (over: Partial<Climb>, now = DUE, config = watchdog) => escalate(climbOf(over), config, now);
const OK: WatchVerdict = { health: 'ok', cause: null, act: 'none', evidence: 'events arrive' };
const LOOP: WatchVerdict = { health: 'looping', cause: 'repetition', act: 'climb', evidence: 'again' };
const IDLE: WatchVerdict = { health: 'looping', cause: 'no_change', act: 'climb', evidence: 'no change' };

describe('one step per interval, note → nudge → triage → terminate (O-69)', () => {
  test('each step comes after the one before, and only when the interval is over', () => {
    expect(step({})).toMatchObject({ act: 'note', level: 0, ladder: 'set' });
    expect(step({ rung: rung(0) }, DUE - 1)).toMatchObject({ act: 'none', ladder: 'keep' });
    expect(step({ rung: rung(0) })).toMatchObject({ act: 'nudge', level: 1, ladder: 'set' });
    expect(step({ rung: rung(1), triage: 'open' })).toMatchObject({ act: 'triage', level: 2 });
    // Whoever is asked has his own limit of time; then nobody is asked any more.
    expect(step({ rung: rung(2), triage: 'asked' }, START + 10 ** 9).act).toBe('none');
    expect(step({ rung: rung(2) }, DUE - 1).act).toBe('none');
    expect(step({ rung: rung(2) })).toMatchObject({ act: 'terminate', level: 3 });
    expect(step({ rung: rung(3) }).act).toBe('none');
  });

  test('with nobody to ask, the step after the nudge is the last one', () => {
    expect(step({ rung: rung(1) })).toMatchObject({ act: 'terminate', level: 3 });
  });

  test.each([
    [0, ['note']],
    [1, ['note', 'nudge']],
    [2, ['note', 'nudge', 'triage']],
    [3, ['note', 'nudge', 'triage', 'terminate']],
  ])('never beyond the highest level %p (O-27)', (max_escalation_level, steps) => {
    const config = { ...watchdog, max_escalation_level };
    let at = rung(0, null);
    const taken: string[] = [];
    for (let i = 1; i < 9; i += 1) {
      const now = START + i * (nudge_interval_ms + 1);
      const { act, level, ladder } = step({ rung: at, triage: 'open' }, now, config);
      if (act !== 'none') taken.push(act);
      if (ladder === 'set') at = rung(level, now);
    }
    expect(taken).toEqual(steps);
    const answer = { verdict: 'terminate', reason: 'dead' } as const;
    expect(step({ rung: rung(2), triage: answer }, DUE, config).act).toBe(
      max_escalation_level === 3 ? 'terminate' : 'none',
    );
  });

  test('another cause starts a ladder of its own', () => {
    expect(step({ rung: rung(2), verdict: LOOP })).toMatchObject({ act: 'note', level: 0, ladder: 'set' });
  });

  test('silence beyond all patience skips the ladder', () => {
    const verdict = { ...climbOf().verdict, act: 'terminate' as const };
    expect(step({ verdict }, START)).toMatchObject({ act: 'terminate', level: 3 });
  });

  test('a look after a gap waits a whole interval again', () => {
    const facts = factsOf({ awake_since: DUE });
    expect(step({ rung: rung(0), facts }, DUE + nudge_interval_ms).act).toBe('none');
    expect(step({ rung: rung(0), facts }, DUE + nudge_interval_ms + 1).act).toBe('nudge');
    const future = rung(0, START + 10 ** 9);
    expect(step({ rung: future }, DUE).act).toBe('nudge');
  });
});

describe('what holds it (O-70)', () => {
  test('a question that waits for an answer suspends every step', () => {
    const facts = factsOf({ awaits_answer: true });
    for (const level of [0, 1, 2]) expect(step({ rung: rung(level), facts }).act).toBe('none');
    expect(step({ facts }).act).toBe('none');
    expect(step({ facts, verdict: { ...climbOf().verdict, act: 'terminate' } }).act).toBe('none');
  });

  test('a silent tree that computes gets mail, an idle one is interrupted, and so is a loop', () => {
    const busy = factsOf({ cpu_ms: 5_001, cpu_over_ms: 100_000 });
    const idle = factsOf({ cpu_ms: 5_000, cpu_over_ms: 100_000 });
    expect(step({ rung: rung(0), facts: busy })).toMatchObject({ act: 'nudge', interrupt: false });
    expect(step({ rung: rung(0), facts: idle })).toMatchObject({ act: 'nudge', interrupt: true });
    const loop = { rung: rung(0, START, 'repetition'), verdict: LOOP };
    const round = { repetition: { period: 1, times: 8, last_at: START + 1 } };
    expect(step({ ...loop, facts: { ...busy, ...round } })).toMatchObject({ act: 'nudge', interrupt: true });
    expect(step({ ...loop, facts: factsOf(round), can_resume: false })).toMatchObject({
      act: 'nudge',
      interrupt: false,
    });
  });

  test('a loop climbs only while it goes on: each step wants one more round than the step before', () => {
    const loopAt = (last_at: number, awake_since = START) =>
      factsOf({ repetition: { period: 1, times: 8, last_at }, awake_since });
    const on = (level: number, last_at: number) => ({
      rung: rung(level, START, 'repetition'),
      verdict: LOOP,
      facts: loopAt(last_at),
    });
    expect(step({ rung: rung(0, null), verdict: LOOP, facts: loopAt(START) }).act).toBe('note');
    for (const [level, act] of [
      [0, 'nudge'],
      [1, 'terminate'],
      [2, 'terminate'],
    ] as const) {
      expect(step(on(level, START), START + 10 ** 9).act).toBe('none');
      expect(step(on(level, START + 1)).act).toBe(act);
    }
    const triage = { verdict: 'terminate', reason: 'so' } as const;
    expect(step({ ...on(2, START), triage }).act).toBe('none');
    expect(step({ ...on(2, START + 1), triage }).act).toBe('terminate');
    // A clock that went back does not hide the rounds since.
    expect(step({ ...on(0, DUE), rung: rung(0, START + 10 ** 9, 'repetition') }, DUE + 1).act).toBe('nudge');
  });

  test('work without a change of the tree gets a word and is never ended', () => {
    const on = (level: number) => ({ rung: rung(level, START, 'no_change'), verdict: IDLE, triage: 'open' as const });
    expect(step(on(0))).toMatchObject({ act: 'nudge', interrupt: false });
    expect(step(on(1)).act).toBe('none');
  });
});

describe('the ladder is left', () => {
  const well = { verdict: OK, rung: rung(1) };
  const calm = START + stale_ms + nudge_interval_ms;

  test('when the turn has been well for longer than it takes to be found late again', () => {
    expect(step(well, calm).ladder).toBe('keep');
    expect(step(well, calm + 1)).toMatchObject({ act: 'none', level: 0, ladder: 'reset' });
  });

  test('counted from the first word of the turn after the interruption, and not before there is one', () => {
    expect(step({ ...well, facts: factsOf({ first_event_at: null }) }, calm + 1).ladder).toBe('keep');
    const facts = factsOf({ first_event_at: START + 5_000 });
    expect(step({ ...well, facts }, calm + 5_000).ladder).toBe('keep');
    expect(step({ ...well, facts }, calm + 5_001).ladder).toBe('reset');
  });

  test('not by a verdict that is not well, and not where there is none', () => {
    expect(step({ verdict: { ...OK, act: 'ring' }, rung: rung(1) }, calm + 1).ladder).toBe('keep');
    expect(step({ verdict: { ...OK, health: 'dead', act: 'ring' }, rung: rung(1) }, calm + 1).ladder).toBe('keep');
    expect(step({ verdict: OK }, calm + 1).ladder).toBe('keep');
  });
});

describe('a second opinion (tier 1)', () => {
  test.each([
    ['terminate', { act: 'terminate', level: 3 }],
    ['nudge', { act: 'nudge', level: 2, interrupt: true }],
    ['restart', { act: 'restart', level: 2, interrupt: true }],
    ['extend', { act: 'extend', level: 1 }],
  ] as const)('%s counts at once', (verdict, expected) => {
    const taken = step({ rung: rung(2), triage: { verdict, reason: 'so' } }, START);
    expect(taken).toMatchObject({ ...expected, ladder: 'set', by_triage: true });
  });

  const restart = { verdict: 'restart', reason: 'so' } as const;
  const nudge = { verdict: 'nudge', reason: 'so' } as const;

  test('a new start interrupts whatever the mechanical rule would do, a word only where that would', () => {
    const busy = factsOf({ cpu_ms: 5_001, cpu_over_ms: 100_000 });
    for (const over of [{ can_resume: false }, { facts: busy }]) {
      expect(step({ rung: rung(2), triage: restart, ...over }, START)).toMatchObject({
        act: 'restart',
        interrupt: true,
      });
      expect(step({ rung: rung(2), triage: nudge, ...over }, START)).toMatchObject({ act: 'nudge', interrupt: false });
    }
  });

  test('it counts on its rung alone, for its cause alone, and silence beyond all patience does not wait for it', () => {
    expect(step({ rung: rung(1), triage: restart }, START)).toMatchObject({ act: 'none', by_triage: false });
    expect(step({ rung: rung(2, START, 'repetition'), triage: restart }, START)).toMatchObject({ act: 'note' });
    const verdict = { ...climbOf().verdict, act: 'terminate' as const };
    for (const triage of ['asked', { verdict: 'extend', reason: '' }] as const)
      expect(step({ rung: rung(2), triage, verdict })).toMatchObject({ act: 'terminate', by_triage: false });
  });

  test('while the answer may still come the ladder waits; without one the next step is the mechanical one', () => {
    expect(step({ rung: rung(2), triage: 'asked' }, DUE).act).toBe('none');
    expect(step({ rung: rung(2) }, DUE - 1).act).toBe('none');
    expect(step({ rung: rung(2) }, DUE)).toMatchObject({ act: 'terminate', level: 3, by_triage: false });
  });
});

test('a step is at most one up, and no config makes it throw or climb while well', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 10 ** 7 }),
      fc.constantFrom<Climb['triage'][]>('none', 'open', 'asked'),
      fc.boolean(),
      (level, max_escalation_level, waited, triage, isWell) => {
        const config = { ...watchdog, max_escalation_level };
        const over = { rung: rung(level), triage, ...(isWell ? { verdict: OK } : {}) };
        const taken = step(over, START + waited, config);
        if (isWell) expect(taken.act).toBe('none');
        if (taken.act === 'none') return;
        expect(taken.level).toBeLessThanOrEqual(max_escalation_level);
        expect(taken.level - level).toBe(taken.act === 'terminate' && level === 1 ? 2 : 1);
      },
    ),
  );
});

test('the settings of tier 0 and 1 where nobody says otherwise (O-27)', () => {
  expect(DEFAULT_CONFIG.watchdog).toMatchObject({
    rpc_timeout_ms: 5_000,
    triage_timeout_ms: 30_000,
    max_escalation_level: 3,
    notify_parent_on_death: true,
  });
});
