import { expect, test } from 'bun:test';
import { delayIn, limitOf, statusIn } from '../../src/harness/limit.ts';

const kind = (status: number | null, message: string) => limitOf({ status, message, final: true })?.kind ?? null;

test('words beat the status, because providers answer 429 to a used-up plan and 400 to an empty purse', () => {
  const cases: [number | null, string, string | null][] = [
    [null, "You've hit your usage limit. Upgrade to Pro or try again at 2:07 PM.", 'usage_limit'],
    [null, 'You’ve hit your usage limit.', 'usage_limit'],
    [429, "You've hit your session limit · resets 2:11pm (UTC)", 'usage_limit'],
    [429, "You've hit your limit · resets 2pm (Asia/Shanghai)", 'usage_limit'],
    [null, 'Claude AI usage limit reached|1778565600', 'usage_limit'],
    [429, 'You have exhausted your daily quota on this model.', 'usage_limit'],
    [400, 'Credit balance is too low', 'quota_unknown'],
    [429, 'Quota exceeded. Check your plan and billing details.', 'quota_unknown'],
    [429, 'Quota exceeded for quota metric: requests per minute', 'rate_limit'],
    [402, 'pay', 'quota_unknown'],
    [429, 'Rate limit reached for gpt-5 in organization x', 'rate_limit'],
    [null, 'Rate limit reached for gpt-5', 'rate_limit'],
    [401, 'x', 'auth'],
    [403, 'x', 'auth'],
    [408, 'x', 'network'],
    [500, 'x', 'overloaded'],
    [529, 'x', 'overloaded'],
    [400, 'scripted invalid request', null],
    [404, 'no such model', null],
    [null, 'unexpected status 401 Unauthorized: Incorrect API key provided', 'auth'],
    [null, 'exceeded retry limit, last status: 429 Too Many Requests', 'rate_limit'],
    [null, 'stream disconnected before completion', 'network'],
    [null, 'connect ECONNREFUSED 127.0.0.1:1', 'network'],
    [null, 'Not logged in · Please run /login', 'auth'],
    [null, 'the patch does not apply', null],
  ];
  for (const [status, message, expected] of cases)
    expect([message, kind(status, message)]).toEqual([message, expected]);
});

test('statuses are read from messages', () => {
  expect(statusIn('API Error: 529 {"type":"error"}')).toBe(529);
  expect(statusIn('{"error":{"code":401,"message":"x"}}')).toBe(401);
  expect(statusIn('HTTP/1.1 503 Service Unavailable')).toBe(503);
  expect(statusIn('port 4290, 404 files')).toBeNull();
});

test('waits are read from messages, in milliseconds', () => {
  expect(delayIn('try again in 3 days 4 hours 5 minutes.')).toBe(273_900_000);
  expect(delayIn('Your quota will reset after 13h54m11s.')).toBe(50_051_000);
  expect(delayIn('Please retry in 25.8s')).toBe(25_800);
  expect(delayIn('Suggested retry after 1s.. Retrying')).toBe(1000);
  expect(delayIn('retry after 300 ms')).toBe(300);
  expect(delayIn('try again in a moment')).toBeNull();
  expect(delayIn('try again at 2:07 PM')).toBeNull();
  expect(delayIn('3 days ago')).toBeNull();
});

test('a reset stamp behind a bar, in seconds or milliseconds', () => {
  const resets = (message: string) => limitOf({ status: null, message, final: true })?.resets_at;
  expect(resets('Claude AI usage limit reached|1778565600')).toBe(1_778_565_600_000);
  expect(resets('usage limit reached|1778565600123')).toBe(1_778_565_600_123);
  expect(resets('usage limit reached|12')).toBeNull();
});

test('odd durations never reach a column', () => {
  const after = (retry_after_ms: number) =>
    limitOf({ status: 429, message: '', final: false, retry_after_ms })?.retry_after_ms;
  expect(after(12.4)).toBe(12);
  expect(after(-1)).toBeNull();
  expect(after(Number.NaN)).toBeNull();
});
