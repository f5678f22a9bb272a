import { expect, test } from 'bun:test';
import { dollarsToMicros, NO_USAGE, TOKEN_KEYS } from '../../src/model/usage.ts';

test('dollars become whole micro-dollars, without the error of binary fractions', () => {
  expect(dollarsToMicros(0.1 + 0.2)).toBe(300_000);
  expect(dollarsToMicros(1.005)).toBe(1_005_000);
  expect(dollarsToMicros(0.0000004)).toBe(0);
  expect(dollarsToMicros(0.0000005)).toBe(1);
  expect(dollarsToMicros(0)).toBe(0);
});

test('no usage means no tokens and an unknown cost, which is not zero (H-17)', () => {
  for (const key of TOKEN_KEYS) expect(NO_USAGE[key]).toBe(0);
  expect(NO_USAGE.cost_micros).toBeNull();
});
