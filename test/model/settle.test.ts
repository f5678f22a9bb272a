import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Limit } from '../../src/model/harness.ts';
import { newPool, type PoolRow } from '../../src/model/pool.ts';
import { SESSION_EVENTS, type SessionState } from '../../src/model/session.ts';
import { backoff, type SettleFacts, type Settlement, settle } from '../../src/model/settle.ts';
import { OUTCOMES } from '../../src/model/turn.ts';

const NOW = 1_000_000;
const DAY = 86_400_000;

const FACTS: SettleFacts = {
  verdict: { outcome: 'completed', reason: 'ok' },
  saw_event: true,
  has_contract: false,
  contract_met: false,
  is_persistent: false,
  has_input: false,
  awaits_others: false,
  is_reminded: false,
  has_evidence: false,
  attempt: 0,
  max_attempts: 3,
  limited_in_row: 0,
  limit: null,
  pool: null,
  spread_ms: 0,
  is_out_of_time: false,
  gate: null,
  now: NOW,
  backoff_ms: 1_000,
  backoff_cap_ms: 60_000,
};

const LIMIT: Limit = {
  kind: 'usage_limit',
  status: 429,
  message: '',
  resets_at: null,
  retry_after_ms: null,
  final: true,
};

const failing = { outcome: 'crashed', reason: 'exit 1' } as const;

describe('the end of a turn, row by row (MODEL §2.6, O-52)', () => {
  const rows: [string, Partial<SettleFacts>, Partial<ReturnType<typeof settle>>][] = [
    ['clean, no contract', {}, { event: 'complete', mail: 'confirm', died: false, attempt: 0 }],
    ['clean, contract met', { has_contract: true, contract_met: true }, { event: 'complete', mail: 'confirm' }],
    ['clean, no contract, unread mail', { has_input: true }, { event: 'rest', mail: 'confirm', next_turn_at: null }],
    [
      'clean, contract met, unread mail',
      { has_contract: true, contract_met: true, has_input: true },
      { event: 'rest', mail: 'confirm' },
    ],
    ['clean, contract open, unread mail', { has_contract: true, has_input: true }, { event: 'rest', remind: false }],
    [
      'clean, contract open, live children',
      { has_contract: true, awaits_others: true },
      { event: 'rest', remind: false },
    ],
    ['clean, no contract, live children', { awaits_others: true }, { event: 'rest', remind: false }],
    [
      'clean, contract met, live children',
      { has_contract: true, contract_met: true, awaits_others: true },
      { event: 'complete' },
    ],
    [
      'clean, contract open, nothing expected',
      { has_contract: true },
      { event: 'rest', remind: true, mail: 'confirm', died: false },
    ],
    [
      'the same again (CX-10)',
      { has_contract: true, is_reminded: true },
      { event: 'fail', reason: 'no_terminal_mail', mail: 'confirm', died: true },
    ],
    ['clean, persistent role (O-49)', { is_persistent: true }, { event: 'rest', remind: false, mail: 'confirm' }],
    [
      'handed off',
      { verdict: { outcome: 'handed_off', reason: 'ok' }, has_contract: true, contract_met: true },
      { event: 'complete' },
    ],
    [
      'no event in the first turn',
      { verdict: failing, saw_event: false },
      { event: 'fail', reason: 'no_output: exit 1', mail: 'release', died: true },
    ],
    [
      'success without one event',
      { saw_event: false },
      { event: 'fail', reason: 'no_output: ok', mail: 'release', died: true },
    ],
    [
      'error, tries left',
      { verdict: failing },
      { event: 'rest', mail: 'release', attempt: 1, next_turn_at: NOW + 1_000, died: false },
    ],
    ['error, second try', { verdict: failing, attempt: 1 }, { event: 'rest', attempt: 2, next_turn_at: NOW + 2_000 }],
    [
      'error, last try',
      { verdict: failing, attempt: 2 },
      { event: 'fail', reason: 'exit 1', mail: 'release', attempt: 3, died: true },
    ],
    [
      'error, a single try allowed',
      { verdict: failing, max_attempts: 1 },
      { event: 'fail', mail: 'release', died: true },
    ],
    ['a refusal is tried again', { verdict: { outcome: 'refused', reason: 'refused' } }, { event: 'rest', attempt: 1 }],
    [
      'not logged in is not',
      { verdict: { outcome: 'refused', reason: 'auth' } },
      { event: 'fail', reason: 'auth', mail: 'release', died: true },
    ],
    [
      'ran too long',
      { verdict: { outcome: 'timed_out', reason: 'timeout' } },
      { event: 'fail', mail: 'release', died: true },
    ],
    [
      'stalled and killed',
      { verdict: { outcome: 'stalled', reason: 'silent' } },
      { event: 'bury', mail: 'release', died: true },
    ],
    [
      'vanished (C-10)',
      { verdict: { outcome: 'lost', reason: 'no_exit_status' } },
      { event: 'bury', mail: 'release', died: true },
    ],
    [
      'vanished, work proven done (CX-49)',
      {
        verdict: { outcome: 'lost', reason: 'no_exit_status' },
        has_contract: true,
        contract_met: true,
        has_evidence: true,
      },
      { event: 'complete', mail: 'confirm', died: false },
    ],
    [
      'the same with unread mail',
      { verdict: { outcome: 'lost', reason: 'x' }, contract_met: true, has_evidence: true, has_input: true },
      { event: 'rest', mail: 'confirm' },
    ],
    [
      'stalled, work proven done',
      { verdict: { outcome: 'stalled', reason: 'stuck' }, contract_met: true, has_evidence: true },
      { event: 'bury', mail: 'release' },
    ],
    [
      'interrupted',
      { verdict: { outcome: 'cancelled', reason: 'interrupt' }, attempt: 1 },
      { event: 'rest', mail: 'release', attempt: 1, next_turn_at: null, died: false },
    ],
    [
      'interrupted while booting',
      { verdict: { outcome: 'cancelled', reason: 'interrupt' }, saw_event: false },
      { event: 'park', parked_reason: 'operator', resume_at: NOW, mail: 'release' },
    ],
  ];
  test.each(rows)('%s', (_what, facts, expected) => {
    expect(settle({ ...FACTS, ...facts })).toMatchObject(expected);
  });
});

describe('a limit parks with an instant to go on at', () => {
  const limited = (limit: Partial<Limit> | null, facts: Partial<SettleFacts> = {}) =>
    settle({
      ...FACTS,
      verdict: { outcome: 'limited', reason: 'usage_limit' },
      limit: limit === null ? null : { ...LIMIT, ...limit },
      ...facts,
    });

  test.each([
    ['the instant it names', { resets_at: NOW + 3_600_000 }, NOW + 3_600_000, 'usage_limit'],
    ['the time it asks for', { retry_after_ms: 90_000 }, NOW + 90_000, 'usage_limit'],
    ['neither, a used-up plan', {}, NOW + 15 * 60_000, 'usage_limit'],
    ['neither, money or quota', { kind: 'quota_unknown' as const }, NOW + 15 * 60_000, 'usage_limit'],
    ['neither, too many calls', { kind: 'rate_limit' as const }, NOW + 60_000, 'rate_limit'],
    ['neither, overloaded', { kind: 'overloaded' as const }, NOW + 60_000, 'rate_limit'],
    ['neither, no network', { kind: 'network' as const }, NOW + 60_000, 'rate_limit'],
    ['an instant in the past', { resets_at: NOW - 5 }, NOW + 1_000, 'usage_limit'],
    ['an instant that never comes', { resets_at: 1e300 }, NOW + 8 * DAY, 'usage_limit'],
    ['a wait without end', { retry_after_ms: Number.MAX_SAFE_INTEGER }, NOW + 8 * DAY, 'usage_limit'],
    ['a part of a millisecond', { resets_at: NOW + 5_000.4 }, NOW + 5_001, 'usage_limit'],
  ])('%s', (_what, limit, resume_at, parked_reason) => {
    const settled = limited(limit, { attempt: 2 });
    expect(settled).toMatchObject({ event: 'park', mail: 'release', attempt: 2, resume_at, died: false });
    expect(settled.parked_reason).toBe(parked_reason as 'usage_limit');
  });

  test('a verdict without the limit itself still parks', () => {
    expect(limited(null)).toMatchObject({ event: 'park', parked_reason: 'rate_limit', resume_at: NOW + 60_000 });
  });
});

describe('a gate stands before `completed`', () => {
  const red = (round: number, max_rounds = 3) => ({ verdict: 'red' as const, round, max_rounds });
  const green = (round: number) => ({ verdict: 'green' as const, round, max_rounds: 3 });
  const crash = { verdict: failing } as const;
  const rows: [string, Partial<SettleFacts>, Partial<Settlement>][] = [
    ['none: nothing is counted', { gate: null }, { event: 'complete', gate_round: null, send_back: false }],
    ['green', { gate: green(2) }, { event: 'complete', gate_round: 0, send_back: false, reason: 'ok' }],
    [
      'red',
      { gate: red(0) },
      { event: 'rest', gate_round: 1, send_back: true, reason: 'gate_red', mail: 'confirm', next_turn_at: null },
    ],
    ['red once more', { gate: red(1) }, { event: 'rest', gate_round: 2, send_back: true }],
    [
      'red as often as it may be',
      { gate: red(2) },
      { event: 'park', parked_reason: 'gate', resume_at: null, gate_round: 3, send_back: true, mail: 'confirm' },
    ],
    ['red, one round allowed', { gate: red(0, 1) }, { event: 'park', parked_reason: 'gate', gate_round: 1 }],
    ['red, more often than it may be', { gate: red(7) }, { event: 'park', gate_round: 8 }],
    ['red, contract met', { gate: red(0), has_contract: true, contract_met: true }, { event: 'rest' }],
    ['green, with mail that came meanwhile', { gate: green(1), has_input: true }, { event: 'rest', gate_round: 0 }],
    [
      'red for the last time, with mail that came meanwhile: it goes on with both',
      { gate: red(2), has_input: true },
      { event: 'rest', gate_round: 3, send_back: true },
    ],
    ['red, of a turn that was ended meanwhile', { gate: red(2), ...crash }, { event: 'rest', gate_round: null }],
    [
      'red, vanished with its work proven done',
      { gate: red(0), verdict: { outcome: 'lost', reason: 'x' }, has_evidence: true },
      { event: 'rest', gate_round: 1, send_back: true, died: false },
    ],
    [
      'red, handed off',
      { gate: red(0), verdict: { outcome: 'handed_off', reason: 'ok' }, contract_met: true },
      { event: 'rest', send_back: true },
    ],
  ];
  test.each(rows)('%s', (_what, facts, expected) => {
    expect(settle({ ...FACTS, ...facts })).toMatchObject(expected);
  });
});

test('the wait doubles up to its cap and stays a number', () => {
  const wait = (attempt: number, backoff_ms = 1_000) => backoff({ attempt, backoff_ms, backoff_cap_ms: 60_000 });
  expect([0, 1, 2, 5, 6, 100].map((attempt) => wait(attempt))).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
  expect(wait(5_000)).toBe(60_000);
  expect(wait(5_000, 0)).toBe(0);
});

const facts: fc.Arbitrary<SettleFacts> = fc.record({
  verdict: fc.record({ outcome: fc.constantFrom(...OUTCOMES), reason: fc.constantFrom('ok', 'auth', 'exit 1') }),
  saw_event: fc.boolean(),
  has_contract: fc.boolean(),
  contract_met: fc.boolean(),
  is_persistent: fc.boolean(),
  has_input: fc.boolean(),
  awaits_others: fc.boolean(),
  is_reminded: fc.boolean(),
  has_evidence: fc.boolean(),
  attempt: fc.nat(10),
  max_attempts: fc.integer({ min: 1, max: 10 }),
  limited_in_row: fc.integer({ min: 0, max: 100 }),
  is_out_of_time: fc.boolean(),
  gate: fc.option(
    fc.record({
      verdict: fc.constantFrom('green' as const, 'red' as const),
      round: fc.nat(4),
      max_rounds: fc.integer({ min: 1, max: 4 }),
    }),
  ),
  pool: fc.constant(null),
  spread_ms: fc.constant(0),
  limit: fc.option(
    fc.record({
      kind: fc.constantFrom('usage_limit' as const, 'rate_limit' as const, 'network' as const),
      status: fc.constant(null),
      message: fc.string(),
      resets_at: fc.option(fc.double({ min: 0, max: 1e300, noNaN: true })),
      retry_after_ms: fc.option(fc.double({ min: 0, max: 1e300, noNaN: true })),
      final: fc.constant(true),
    }),
  ),
  now: fc.nat(2_000_000_000_000),
  backoff_ms: fc.nat(100_000),
  backoff_cap_ms: fc.nat(1_000_000),
});

test('whatever happened: a legal step, a way on, and times that fit a column (ARCHITECTURE §1)', () => {
  fc.assert(
    fc.property(facts, (input) => {
      const settled = settle(input);
      const from: readonly SessionState[] = SESSION_EVENTS[settled.event].from;
      // Any state that a turn in flight can be in must allow the step, else the session would hang in it.
      const states: SessionState[] = input.saw_event ? ['working', 'stalled'] : ['booting'];
      expect(states.filter((state) => !from.includes(state))).toEqual([]);
      for (const at of [settled.resume_at, settled.next_turn_at])
        expect(at === null || Number.isSafeInteger(at)).toBe(true);
      // A gate alone holds until a person says otherwise.
      if (settled.event === 'park') expect(settled.resume_at === null).toBe(settled.parked_reason === 'gate');
      // Rest needs somebody to wake it: mail given back, a reminder, mail waiting, others at work, or a persistent role.
      const isWoken =
        settled.mail === 'release' || settled.remind || settled.send_back || input.has_input || input.awaits_others;
      if (settled.event === 'rest') expect(isWoken || input.is_persistent).toBe(true);
      if (settled.event === 'complete') {
        expect(settled.mail).toBe('confirm');
        expect(input.has_input || input.is_persistent || settled.died).toBe(false);
        expect(!input.has_contract || input.contract_met).toBe(true);
        expect(input.gate?.verdict).not.toBe('red');
      }
      if (settled.send_back) expect(input.gate?.verdict).toBe('red');
      if (settled.died) expect(['fail', 'bury']).toContain(settled.event);
      if (settled.event === 'fail' || settled.event === 'bury') expect(settled.died).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test('a limit without a reset time is asked again ever more rarely, up to two hours', () => {
  const verdict = { outcome: 'limited', reason: 'rate_limit' } as const;
  const limit = {
    kind: 'rate_limit',
    status: 429,
    message: '',
    resets_at: null,
    retry_after_ms: null,
    final: true,
  } as const;
  const waits = [0, 1, 2, 50].map((limited_in_row) => {
    const settled = settle({ ...FACTS, verdict, limit, limited_in_row });
    return (settled.resume_at ?? 0) - FACTS.now;
  });
  expect(waits).toEqual([60_000, 120_000, 240_000, 7_200_000]);
  const told = settle({ ...FACTS, verdict, limit: { ...limit, retry_after_ms: 5_000 }, limited_in_row: 9 });
  expect((told.resume_at ?? 0) - FACTS.now).toBe(5_000);
});

describe('a pool that was told of a refusal decides, and no attempt is spent', () => {
  const refused = (pool: Partial<PoolRow>, reason = 'usage_limit', facts: Partial<SettleFacts> = {}) =>
    settle({
      ...FACTS,
      verdict: { outcome: reason === 'auth' ? 'refused' : 'limited', reason },
      ...{ attempt: 2, spread_ms: 7, pool: { ...newPool('p', 1), ...pool } },
      ...facts,
    });

  test.each<[string, Partial<PoolRow>, string, Partial<Settlement>]>([
    [
      'blocked',
      { state: 'blocked', reason: 'usage_limit', opens_at: 5 },
      'usage_limit',
      { parked_reason: 'usage_limit', parked_pool: 'p', resume_at: null },
    ],
    [
      'probed by another',
      { state: 'probing', reason: 'usage_limit', opens_at: 5 },
      'rate_limit',
      { parked_reason: 'usage_limit', parked_pool: 'p', resume_at: null },
    ],
    [
      'waiting for a person',
      { state: 'blocked', reason: 'auth' },
      'auth',
      { parked_reason: 'operator', parked_pool: 'p', resume_at: null, died: false },
    ],
    [
      'throttled',
      { state: 'open', retry_at: NOW + 9_000 },
      'overloaded',
      { parked_reason: 'rate_limit', parked_pool: null, resume_at: NOW + 9_007 },
    ],
    ['open again', { state: 'open' }, 'auth', { parked_reason: 'operator', parked_pool: null, resume_at: NOW + 1_007 }],
  ])('%s', (_what, pool, reason, expected) => {
    for (const saw_event of [true, false])
      expect(refused(pool, reason, { saw_event })).toMatchObject({
        ...{ event: 'park', mail: 'release', attempt: 2, next_turn_at: null },
        ...expected,
      });
  });
});
