import { expect, test } from 'bun:test';
import { dollarsToMicros, findPrice, microsOf, priceOf } from '../../src/model/usage.ts';

test('dollars become whole micro-dollars, without the error of binary fractions', () => {
  expect(dollarsToMicros(0.1 + 0.2)).toBe(300_000);
  expect(dollarsToMicros(1.005)).toBe(1_005_000);
  expect(dollarsToMicros(0.0000004)).toBe(0);
  expect(dollarsToMicros(0.0000005)).toBe(1);
  expect(dollarsToMicros(0)).toBe(0);
});

test.each([
  ['0.25', 250_000],
  ['$3.5', 3_500_000],
  ['12', 12_000_000],
  [' 0.000001 ', 1],
  ['4.350000', 4_350_000],
  ['1000000000', 1e15],
])('%j is an exact amount of dollars', (text, micros) => {
  expect(microsOf(text)).toBe(micros);
});

test.each([
  '',
  '0',
  '0.000000',
  '-1',
  '+1',
  '1e3',
  '0.0000001',
  '1,5',
  '.5',
  '1.',
  'NaN',
  'Infinity',
  '1000000000.000001',
  '0x10',
])('%j is no amount', (text) => {
  expect(microsOf(text)).toBeNull();
});

const TOKENS = {
  ...{ input_tokens: 1_000, output_tokens: 100, reasoning_tokens: 10, cache_read_tokens: 5_000, cache_write_tokens: 7 },
};

test('dollars per million tokens are micro-dollars per token; reasoning is output; unknown cache prices are those of input', () => {
  expect(priceOf(TOKENS, { input: 3, output: 15, cache_read: 0.3, cache_write: 3.75 })).toBe(
    Math.round(3_000 + 110 * 15 + 1_500 + 7 * 3.75),
  );
  expect(priceOf(TOKENS, { input: 2, output: 0 })).toBe(2 * 6_007);
  expect(priceOf({ ...TOKENS, input_tokens: Number.MAX_SAFE_INTEGER }, { input: 9, output: 0 })).toBe(
    Number.MAX_SAFE_INTEGER,
  );
});

test('a price is found by the first name that has one, with or without its date, and never by a relative', () => {
  const price = (input: number) => ({ input, output: 1 });
  const prices = { 'gpt-5': price(1), 'claude-sonnet-4-5': price(2), sonnet: price(3), 'gpt-5-2026-01-01': price(4) };
  const found = (...models: (string | null)[]) => findPrice(prices, models)?.input ?? null;
  expect(found('claude-sonnet-4-5-20250929', 'sonnet')).toBe(2);
  expect(found(null, 'unheard-of', 'sonnet')).toBe(3);
  expect([found('gpt-5-2026-01-01'), found('gpt-5-2025-12-31'), found('gpt-5-latest')]).toEqual([4, 1, 1]);
  expect([found('gpt-5-mini'), found('gpt'), found(null), found('toString')]).toEqual([null, null, null, null]);
});
