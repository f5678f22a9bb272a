import { describe, expect, test } from 'bun:test';
import type { Limit } from '../../src/model/harness.ts';
import { END_CAUSES, type EndFacts, isSuccess, OUTCOMES, outcomeOf } from '../../src/model/turn.ts';

const LIMIT: Limit = {
  kind: 'usage_limit',
  status: 429,
  message: 'limit reached',
  resets_at: null,
  retry_after_ms: null,
  final: true,
};

const CLEAN: EndFacts = {
  end_cause: null,
  exit: { code: 0, signal: null },
  result_ok: true,
  result_reason: 'completed',
  model_turns: 3,
  handoffs: 0,
  tree_empty: true,
  limit: null,
};

const KILLED = { code: null, signal: 'SIGKILL' };

describe('the one word a turn ends with, first reason wins (ARCHITECTURE §3)', () => {
  const rows: [string, Partial<EndFacts>, string, string][] = [
    ['all agree', {}, 'completed', 'ok'],
    ['it gave its task away', { handoffs: 1 }, 'handed_off', 'ok'],
    ['the process vanished', { exit: null }, 'lost', 'no_exit_status'],
    ['an error result', { result_ok: false, result_reason: 'error_max_turns' }, 'crashed', 'error_max_turns'],
    ['an error result without a word', { result_ok: false, result_reason: null }, 'crashed', 'error'],
    ['a refusal', { result_ok: false, result_reason: 'refused: policy' }, 'refused', 'refused: policy'],
    ['exit 3', { exit: { code: 3, signal: null } }, 'crashed', 'exit 3'],
    ['exit 3 without a result', { exit: { code: 3, signal: null }, result_ok: null }, 'crashed', 'exit 3'],
    ['a signal', { exit: { code: null, signal: 'SIGSEGV' } }, 'crashed', 'signal SIGSEGV'],
    ['neither code nor signal', { exit: { code: null, signal: null } }, 'crashed', 'exit ?'],
    ['no result, exit 0', { result_ok: null }, 'crashed', 'no_result'],
    ['a result without a model turn', { model_turns: 0 }, 'crashed', 'no_model_turn'],
    ['something of it lives on', { tree_empty: false }, 'crashed', 'tree_not_empty'],
    ['a final limit', { result_ok: false, limit: LIMIT }, 'limited', 'usage_limit'],
    ['a final limit and no result', { result_ok: null, limit: LIMIT }, 'limited', 'usage_limit'],
    ['a limit that it got over', { limit: LIMIT }, 'completed', 'ok'],
    ['a limit it still retried', { result_ok: false, limit: { ...LIMIT, final: false } }, 'crashed', 'completed'],
    ['not logged in', { result_ok: false, limit: { ...LIMIT, kind: 'auth' } }, 'refused', 'auth'],
    ['stopped', { end_cause: 'stop', exit: KILLED, result_ok: null }, 'cancelled', 'stop'],
    ['stopped although it finished', { end_cause: 'stop' }, 'cancelled', 'stop'],
    ['paused', { end_cause: 'pause', exit: null, result_ok: null }, 'cancelled', 'pause'],
    ['finished before the pause reached it', { end_cause: 'pause' }, 'completed', 'ok'],
    ['interrupted', { end_cause: 'interrupt', exit: KILLED, result_ok: null }, 'cancelled', 'interrupt'],
    ['ran too long', { end_cause: 'timeout', exit: KILLED, result_ok: null }, 'timed_out', 'timeout'],
    [
      'ran too long, beside a limit',
      { end_cause: 'timeout', exit: KILLED, result_ok: false, limit: LIMIT },
      'timed_out',
      'timeout',
    ],
    ['said nothing at all', { end_cause: 'first_event', exit: KILLED, result_ok: null }, 'stalled', 'first_event'],
    ['fell silent', { end_cause: 'silent', exit: null, result_ok: null }, 'stalled', 'silent'],
    ['stuck', { end_cause: 'stuck', exit: KILLED, result_ok: null }, 'stalled', 'stuck'],
    ['wrote too much', { end_cause: 'log_limit', exit: KILLED, result_ok: null }, 'stalled', 'log_limit'],
    ['lived on after its result', { end_cause: 'lingering', exit: KILLED }, 'completed', 'lingering'],
    ['the same, and nobody saw the exit', { end_cause: 'lingering', exit: null }, 'completed', 'lingering'],
    [
      'lived on after an error',
      { end_cause: 'lingering', exit: null, result_ok: false, result_reason: 'bad' },
      'crashed',
      'bad',
    ],
    [
      'lived on after a limit',
      { end_cause: 'lingering', exit: null, result_ok: false, limit: LIMIT },
      'limited',
      'usage_limit',
    ],
    [
      'lived on and cannot be ended',
      { end_cause: 'lingering', exit: KILLED, tree_empty: false },
      'crashed',
      'tree_not_empty',
    ],
  ];
  test.each(rows)('%s', (_what, facts, outcome, reason) => {
    expect(outcomeOf({ ...CLEAN, ...facts })).toEqual({ outcome: outcome as 'completed', reason });
  });
});

function* grid(): Generator<EndFacts> {
  const exits = [null, { code: 0, signal: null }, { code: 1, signal: null }, KILLED];
  const limits = [null, LIMIT, { ...LIMIT, kind: 'auth' as const }, { ...LIMIT, final: false }];
  for (const end_cause of [null, ...END_CAUSES])
    for (const exit of exits)
      for (const result_ok of [true, false, null])
        for (const model_turns of [0, 1])
          for (const handoffs of [0, 2])
            for (const tree_empty of [true, false])
              for (const limit of limits)
                for (const result_reason of [null, 'refused', 'error'])
                  yield { end_cause, exit, result_ok, model_turns, handoffs, tree_empty, limit, result_reason };
}

test('over the whole grid of facts, exit code 0 alone proves nothing (ARCHITECTURE §6)', () => {
  let successes = 0;
  const seen = new Set<string>();
  for (const facts of grid()) {
    const { outcome, reason } = outcomeOf(facts);
    seen.add(outcome);
    if (!OUTCOMES.includes(outcome) || reason === '') throw new Error(`no word for ${JSON.stringify(facts)}`);
    if (!isSuccess(outcome)) continue;
    successes += 1;
    const agreed = facts.exit?.code === 0 || facts.end_cause === 'lingering';
    const isProven = facts.result_ok === true && agreed && facts.model_turns >= 1 && facts.tree_empty;
    if (!isProven || facts.end_cause === 'stop') throw new Error(`success without proof: ${JSON.stringify(facts)}`);
    if ((outcome === 'handed_off') !== facts.handoffs > 0) throw new Error(`wrong success: ${JSON.stringify(facts)}`);
  }
  expect(successes).toBeGreaterThan(0);
  expect([...seen].sort()).toEqual([...OUTCOMES].sort());
});

test('what drover ended is never called a crash unless a clean result came first', () => {
  for (const facts of grid()) {
    if (facts.end_cause === null || facts.end_cause === 'lingering') continue;
    const hadWon = facts.result_ok === true && facts.exit?.code === 0 && facts.end_cause !== 'stop';
    const { outcome } = outcomeOf(facts);
    const isSilence = facts.end_cause === 'silent' || facts.end_cause === 'first_event';
    // Silence while the provider says "not now" is the provider's.
    const isLimit = isSilence && facts.limit !== null && (outcome === 'limited' || outcome === 'refused');
    const isOurs = outcome === 'cancelled' || outcome === 'timed_out' || outcome === 'stalled' || isLimit;
    if (isOurs === hadWon) throw new Error(`${outcome} for ${JSON.stringify(facts)}`);
  }
});

test('silence while a limit stands is the limit, whichever timer fired first', () => {
  const limit = {
    kind: 'overloaded',
    status: 529,
    message: '',
    resets_at: null,
    retry_after_ms: null,
    final: false,
  } as const;
  for (const end_cause of ['silent', 'first_event'] as const) {
    expect(outcomeOf({ ...CLEAN, end_cause, exit: KILLED, result_ok: null, limit })).toEqual({
      outcome: 'limited',
      reason: 'overloaded',
    });
    expect(outcomeOf({ ...CLEAN, end_cause, exit: KILLED, result_ok: null, limit: null }).outcome).toBe('stalled');
  }
  expect(outcomeOf({ ...CLEAN, end_cause: 'stop', exit: KILLED, result_ok: null, limit }).outcome).toBe('cancelled');
});

test('every cause has its outcome, and the reason names the cause', () => {
  for (const end_cause of END_CAUSES) {
    if (end_cause === 'lingering') continue;
    const verdict = outcomeOf({ ...CLEAN, end_cause, exit: KILLED, result_ok: null });
    expect(verdict.reason).toBe(end_cause);
  }
});
