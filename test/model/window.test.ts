import { expect, test } from 'bun:test';
import { instantOf, isZone, timeOfDay, windowAt } from '../../src/model/window.ts';

const at = (text: string) => Date.parse(text);
const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString().slice(0, 19));
const look = (start: string, stop: string, timezone: string, now: string) => {
  const { is_open, changes_at } = windowAt({ start, stop, timezone }, at(now));
  return [is_open, iso(changes_at)];
};
const BERLIN = 'Europe/Berlin';

test('zones are the names the machine knows', () => {
  for (const zone of ['UTC', BERLIN, 'America/Argentina/Buenos_Aires', 'Etc/GMT+5']) expect(isZone(zone)).toBe(true);
  for (const zone of ['Mars/Base', '', '+02:00', 'Europe/Berlin ', '../etc', 'x'.repeat(500)])
    expect(isZone(zone)).toBe(false);
});

test('times of day', () => {
  expect(['0:00', '09:30', '24:00'].map(timeOfDay)).toEqual([0, 34_200_000, 86_400_000]);
  expect(['24:01', '7', '12:60', '-1:00', ' 1:00', '25:00'].map(timeOfDay)).toEqual([
    null,
    null,
    null,
    null,
    null,
    null,
  ]);
});

test('a window within a day, and one over midnight', () => {
  expect(look('09:00', '17:00', 'UTC', '2026-05-05T08:59:59Z')).toEqual([false, '2026-05-05T09:00:00']);
  expect(look('09:00', '17:00', 'UTC', '2026-05-05T09:00:00Z')).toEqual([true, '2026-05-05T17:00:00']);
  expect(look('09:00', '17:00', 'UTC', '2026-05-05T17:00:00Z')).toEqual([false, '2026-05-06T09:00:00']);
  expect(look('22:00', '06:30', BERLIN, '2026-05-05T03:00:00Z')).toEqual([true, '2026-05-05T04:30:00']);
  expect(look('22:00', '06:30', BERLIN, '2026-05-05T12:00:00Z')).toEqual([false, '2026-05-05T20:00:00']);
  expect(look('22:00', '06:30', BERLIN, '2026-05-05T21:00:00Z')).toEqual([true, '2026-05-06T04:30:00']);
  expect(look('00:00', '24:00', 'UTC', '2026-05-05T12:00:00Z')).toEqual([true, '2026-05-06T00:00:00']);
});

test('a window whose ends are the same, or are no times, never opens', () => {
  expect(look('09:00', '09:00', 'UTC', '2026-05-05T09:00:00Z')).toEqual([false, null]);
  expect(look('9', '10:00', 'UTC', '2026-05-05T09:00:00Z')).toEqual([false, null]);
});

test('when the clock goes forward, a time that does not exist means the end of the gap', () => {
  // 29 March 2026: 02:00 becomes 03:00 in Berlin.
  expect(iso(instantOf(BERLIN, Date.UTC(2026, 2, 29, 2, 30)))).toBe('2026-03-29T01:00:00');
  expect(look('02:30', '05:00', BERLIN, '2026-03-29T00:59:59Z')).toEqual([false, '2026-03-29T01:00:00']);
  expect(look('02:30', '05:00', BERLIN, '2026-03-29T01:00:00Z')).toEqual([true, '2026-03-29T03:00:00']);
  // Both ends in the gap: it does not open on that day.
  expect(look('02:10', '02:50', BERLIN, '2026-03-29T00:30:00Z')).toEqual([false, '2026-03-30T00:10:00']);
  expect(look('22:00', '06:00', BERLIN, '2026-03-28T22:00:00Z')).toEqual([true, '2026-03-29T04:00:00']);
});

test('when the clock goes back, an hour that comes twice does not open the window twice', () => {
  // 25 October 2026: 03:00 becomes 02:00 in Berlin.
  expect(look('02:30', '05:00', BERLIN, '2026-10-25T00:29:59Z')).toEqual([false, '2026-10-25T00:30:00']);
  expect(look('02:30', '05:00', BERLIN, '2026-10-25T01:10:00Z')).toEqual([true, '2026-10-25T04:00:00']);
  expect(look('01:00', '02:30', BERLIN, '2026-10-25T00:10:00Z')).toEqual([true, '2026-10-25T00:30:00']);
  expect(look('01:00', '02:30', BERLIN, '2026-10-25T01:10:00Z')).toEqual([false, '2026-10-26T00:00:00']);
});

test('midnight that does not exist, and half an hour of change', () => {
  // Santiago goes forward at midnight, Lord Howe by half an hour.
  expect(iso(instantOf('America/Santiago', Date.UTC(2026, 8, 6)))).toBe('2026-09-06T04:00:00');
  expect(iso(instantOf('Australia/Lord_Howe', Date.UTC(2026, 9, 4, 2, 15)))).toBe('2026-10-03T15:30:00');
});

test('through a whole year, in any zone, the window says the same from every instant of it', () => {
  for (const timezone of [BERLIN, 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu']) {
    const window = { start: '22:15', stop: '02:45', timezone };
    let now = at('2026-01-01T12:00:00Z');
    let was = windowAt(window, now);
    for (let n = 0; n < 2 * 366; n++) {
      const change = was.changes_at ?? 0;
      expect(change).toBeGreaterThan(now);
      expect(windowAt(window, change - 1)).toEqual(was);
      now = change;
      const next = windowAt(window, now);
      expect(next.is_open).toBe(!was.is_open);
      was = next;
    }
  }
});
