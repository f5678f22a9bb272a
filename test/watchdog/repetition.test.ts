import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { callsNeeded, goesOn, isLoop, repetitionOf } from '../../src/watchdog/repetition.ts';

const calls = (text: string) => [...text].map((letter) => (letter === '?' ? null : letter));
const of = (text: string) => repetitionOf(calls(text));

describe('repetition of the newest calls (fault 49)', () => {
  test.each([
    ['', null],
    ['A', null],
    ['ABCD', null],
    ['AA', { period: 1, times: 2 }],
    ['BAAA', { period: 1, times: 3 }],
    ['AAAB', null],
    ['ABAB', { period: 2, times: 2 }],
    ['XABABAB', { period: 2, times: 3 }],
    ['ABCABCABC', { period: 3, times: 3 }],
    ['ABCDABCD', { period: 4, times: 2 }],
    ['ABCDEABCDE', null],
    // Whole cycles only.
    ['BABAB', { period: 2, times: 2 }],
  ])('%p', (text, expected) => {
    expect(of(text)).toEqual(expected);
  });

  test('the same call over and over is a period of one, not of two', () => {
    expect(of('AAAAAAAA')).toEqual({ period: 1, times: 8 });
  });

  test('edits that undo each other are a cycle of two', () => {
    expect(repetitionOf(['edit a→b', 'edit b→a', 'edit a→b', 'edit b→a'])).toEqual({ period: 2, times: 2 });
  });

  test('a call that cannot be compared equals none, itself included', () => {
    expect(of('????????')).toBeNull();
    expect(of('AAA?AA')).toEqual({ period: 1, times: 2 });
    expect(of('A?A?A?A?')).toBeNull();
  });

  test('calls that all differ never repeat', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { maxLength: 30 }), (all) => {
        expect(repetitionOf(all)).toBeNull();
      }),
    );
  });
});

test('eight alike are a loop, and sixteen in a longer cycle', () => {
  expect([7, 8].map((times) => isLoop({ period: 1, times }, 8))).toEqual([false, true]);
  expect([7, 8].map((times) => isLoop({ period: 2, times }, 8))).toEqual([false, true]);
  expect([5, 6].map((times) => isLoop({ period: 3, times }, 8))).toEqual([false, true]);
  expect([3, 4].map((times) => isLoop({ period: 4, times }, 8))).toEqual([false, true]);
  expect(isLoop(null, 3)).toBe(false);
});

test('as many calls as are asked for are enough to find every loop', () => {
  fc.assert(
    fc.property(fc.integer({ min: 3, max: 20 }), fc.integer({ min: 1, max: 4 }), (loop_repeats, period) => {
      const cycle = Array.from({ length: callsNeeded(loop_repeats) }, (_, i) => String(i % period));
      expect(isLoop(repetitionOf(cycle), loop_repeats)).toBe(true);
    }),
  );
});

test.each([
  ['AAA', '', true],
  ['AAA', 'A', true],
  ['AAA', 'AA', true],
  ['AAA', 'B', false],
  ['AAA', 'AB', false],
  ['AAA', '?', false],
  ['CABAB', 'A', true],
  ['CABAB', 'ABA', true],
  ['CABAB', 'B', false],
  ['CABAB', 'C', false],
])('a call that waits for its answer goes on with the cycle or leaves it: %p %p', (answered, open, expected) => {
  const repetition = of(answered);
  expect(repetition !== null && goesOn(repetition, calls(answered), calls(open))).toBe(expected);
});
