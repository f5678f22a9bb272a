import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { digestText, patrolDue } from '../../src/watchdog/patrol-digest.ts';
import { START } from './watch-facts.ts';

const config = { patrol_harness: 'claude', patrol_every_ms: 1_800_000 };
const NEWS = { count: 1, grave: 0, sent_at: null as number | null, is_waiting: false, failed: 0 };
const due = (over: Partial<typeof NEWS>, passed = 0, limits: Partial<typeof config> | { patrol_harness: null } = {}) =>
  patrolDue({ ...NEWS, ...over }, { ...config, ...limits }, START + passed);

describe('when the patrol is woken (tier 2)', () => {
  test('never while nothing is wrong, whatever the hour; never when it is off', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (passed, ago) => {
        expect(due({ count: 0, sent_at: START - ago }, passed)).toBe(false);
        expect(due({ count: 5, grave: 5, sent_at: START - ago }, passed, { patrol_harness: null })).toBe(false);
      }),
    );
  });

  test.each([
    [{}, 0, true],
    [{ sent_at: START }, 1_799_999, false],
    [{ sent_at: START }, 1_800_000, true],
    [{ sent_at: START, grave: 1 }, 59_999, false],
    [{ sent_at: START, grave: 1 }, 60_000, true],
    [{ sent_at: START + 10 ** 9 }, 0, true],
    [{ sent_at: START, is_waiting: true }, 10 ** 9, false],
    [{ is_waiting: true, grave: 9 }, 10 ** 9, false],
    [{ sent_at: START, grave: 1, failed: 1 }, 119_999, false],
    [{ sent_at: START, grave: 1, failed: 1 }, 120_000, true],
    [{ sent_at: START, grave: 1, failed: 3 }, 479_999, false],
    [{ sent_at: START, grave: 1, failed: 3 }, 480_000, true],
    [{ sent_at: START, grave: 1, failed: 2_000 }, 3_599_999, false],
    [{ sent_at: START, grave: 1, failed: 2_000 }, 3_600_000, true],
    [{ sent_at: START, failed: 1 }, 3_599_999, false],
    [{ sent_at: START, failed: 1 }, 3_600_000, true],
  ])('%p after %p ms: %p', (news, passed, expected) => {
    expect(due(news, passed)).toBe(expected);
  });

  test('an hour that is shorter than the rest after an escalation wins', () => {
    expect(due({ sent_at: START, grave: 1 }, 1_000, { patrol_every_ms: 1_000 })).toBe(true);
  });
});

test('a patrol that always fails is started a dozen times in eight hours, however short its hour', () => {
  for (const patrol_every_ms of [1_000, 1_800_000]) {
    const sent: number[] = [];
    for (let passed = 0; passed < 8 * 3_600_000; passed += 1_000) {
      const sent_at = sent.length === 0 ? null : START + (sent.at(-1) ?? 0);
      if (due({ grave: 1, sent_at, failed: sent.length }, passed, { patrol_every_ms })) sent.push(passed);
    }
    expect(sent.length).toBe(12);
  }
});

test('an hour that is longer than the longest pause stays as it is', () => {
  const limits = { patrol_every_ms: 7_200_000 };
  expect([7_199_999, 7_200_000].map((passed) => due({ sent_at: START, failed: 4 }, passed, limits))).toEqual([
    false,
    true,
  ]);
});

test('a digest says who, what, what was done, how old and how dear', () => {
  const line = {
    name: 'mute',
    state: 'stalled',
    repo_root: '/farm',
    turn: 2,
    health: 'late',
    cause: 'silent',
  } as const;
  const more = { evidence: 'silent for 9 ms', acts: 'note, nudge', at: START - 60_000, created_at: START - 600_000 };
  const text = digestText([{ ...line, ...more, input_tokens: 7, output_tokens: 8 }], START);
  for (const part of ['mute (stalled, turn 2, in /farm): late (silent), 1 min ago', 'done: note, nudge', 'age 10 min'])
    expect(text).toContain(part);
  expect(text).toContain('tokens in 7, out 8');
});
