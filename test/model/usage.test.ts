import { expect, test } from 'bun:test';
import { dollarsToMicros } from '../../src/model/usage.ts';

test('dollars become whole micro-dollars, without the error of binary fractions', () => {
  expect(dollarsToMicros(0.1 + 0.2)).toBe(300_000);
  expect(dollarsToMicros(1.005)).toBe(1_005_000);
  expect(dollarsToMicros(0.0000004)).toBe(0);
  expect(dollarsToMicros(0.0000005)).toBe(1);
  expect(dollarsToMicros(0)).toBe(0);
});
