import { describe, expect, test } from 'bun:test';
import { AppError } from '../../src/model/error.ts';
import { parseCron, preview } from '../../src/plan/cron.ts';

const at = (text: string) => Date.parse(text);
const NOW = at('2026-05-05T12:00:30Z');
const times = (expression: string, zone = 'UTC', now = NOW, count = 3) =>
  preview(parseCron(expression, zone, now), now, count).map((each) => new Date(each).toISOString().slice(0, 19));

function refused(expression: string, zone = 'UTC'): { code: string; message: string } {
  try {
    parseCron(expression, zone, NOW);
  } catch (error) {
    if (error instanceof AppError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error(`${expression} was taken`);
}

describe('fields (E-056)', () => {
  test('five, blanks around them do not count', () => {
    expect(times('  */15 * * * * ')).toEqual(['2026-05-05T12:15:00', '2026-05-05T12:30:00', '2026-05-05T12:45:00']);
  });
  test('six begin with seconds', () => {
    expect(times('*/20 * * * * *')).toEqual(['2026-05-05T12:00:40', '2026-05-05T12:01:00', '2026-05-05T12:01:20']);
  });
  test('seven end with years (CX-36)', () => {
    expect(times('0 0 0 1 1 * 2028,2030-2040/5')).toEqual([
      '2028-01-01T00:00:00',
      '2030-01-01T00:00:00',
      '2035-01-01T00:00:00',
    ]);
    expect(times('0 0 0 29 2 * 2030-2033')).toEqual(['2032-02-29T00:00:00']);
    expect(times('0 30 12 * * * *')).toHaveLength(3);
    expect(times('0 0 0 1 1 * 2027', 'Pacific/Auckland')).toEqual(['2026-12-31T11:00:00']);
  });
  test.each(['', '* * * *', '@daily', '* * * * * * * *'])('%p has another number of them', (expression) => {
    const found = expression === '' ? 0 : expression.split(' ').length;
    expect(refused(expression)).toEqual({
      code: 'cron_invalid',
      message: `invalid cron expression \`${expression}\`: expected 5, 6, or 7 fields but found ${found}`,
    });
  });
  test.each([
    '61 * * * *',
    'a b c d e',
    '* * * * 8',
    '0 0 * * 1#6',
    'H * * * *',
    '* * * * * * 1969',
    '* * * * * * 2200',
    '* * * * * * 2030-2029',
    '* * * * * * x',
  ])('%p is none', (expression) => {
    expect(refused(expression)).toEqual({ code: 'cron_invalid', message: `invalid cron expression \`${expression}\`` });
  });
  test.each(['0 0 31 2 *', '0 0 0 1 1 * 2025', '0 0 0 29 2 * 2030'])('%p has no future', (expression) => {
    expect(refused(expression)).toEqual({
      code: 'cron_without_future',
      message: `cron expression \`${expression}\` did not yield a future run time`,
    });
  });
  test('a zone that does not exist', () => {
    expect(refused('* * * * *', 'Mars/Base').code).toBe('zone_unknown');
  });
});

test('weekdays are those of Unix: 0 and 7 are Sunday, names are names (CX-36)', () => {
  for (const day of ['0', '7', 'SUN', 'sun'])
    expect(times(`0 0 * * ${day}`, 'UTC', NOW, 1)).toEqual(['2026-05-10T00:00:00']);
  expect(times('0 0 * * 1', 'UTC', NOW, 1)).toEqual(['2026-05-11T00:00:00']);
});

describe('the changes of the clock', () => {
  test('in spring a time that is jumped over fires once, at the end of the gap or half an hour behind it', () => {
    const found = times('30 2 * * *', 'Europe/Berlin', at('2026-03-28T12:00:00Z'));
    expect(found).toEqual(['2026-03-29T01:30:00', '2026-03-30T00:30:00', '2026-03-31T00:30:00']);
    expect(times('30 2 * * *', 'America/New_York', at('2026-03-07T12:00:00Z'), 2)).toEqual([
      '2026-03-08T07:30:00',
      '2026-03-09T06:30:00',
    ]);
    expect(times('0 0 * * *', 'America/Santiago', at('2026-09-05T12:00:00Z'), 2)).toEqual([
      '2026-09-06T04:00:00',
      '2026-09-07T03:00:00',
    ]);
  });
  test('in autumn a time that comes twice fires once, the first time', () => {
    const found = times('30 2 * * *', 'Europe/Berlin', at('2026-10-24T12:00:00Z'));
    expect(found).toEqual(['2026-10-25T00:30:00', '2026-10-26T01:30:00', '2026-10-27T01:30:00']);
    expect(times('30 1 * * *', 'America/New_York', at('2026-10-31T12:00:00Z'), 2)).toEqual([
      '2026-11-01T05:30:00',
      '2026-11-02T06:30:00',
    ]);
  });
  test('what comes every half hour comes every half hour through both changes', () => {
    for (const start of ['2026-03-28T23:00:00Z', '2026-10-24T23:00:00Z']) {
      const found = preview(parseCron('*/30 * * * *', 'Europe/Berlin', at(start)), at(start), 12);
      expect(found.map((each) => (each - at(start)) / 1_800_000)).toEqual(found.map((_, i) => i + 1));
    }
  });
  test('times only ever go forward', () => {
    for (const zone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'America/Santiago']) {
      const found = preview(parseCron('17 */3 * * *', zone, NOW), NOW, 500);
      for (const [i, each] of found.entries()) expect(each).toBeGreaterThan(found[i - 1] ?? NOW);
    }
  });
});
