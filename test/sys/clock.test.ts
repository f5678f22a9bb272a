import { expect, spyOn, test } from 'bun:test';
import { systemClock } from '../../src/sys/clock.ts';

test('clock: now is wall time in ms and monotonic never goes back', () => {
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000);
  expect(Number.isInteger(systemClock.now())).toBe(true);
  const first = systemClock.monotonic();
  expect(systemClock.monotonic()).toBeGreaterThanOrEqual(first);
});

test('clock: sleep lasts as long as asked', async () => {
  const start = performance.now();
  await systemClock.sleep(30);
  expect(performance.now() - start).toBeGreaterThanOrEqual(29);
});

test('clock: an abort ends a sleep of any length at once, before or during it', async () => {
  const control = new AbortController();
  const sleeping = systemClock.sleep(10 ** 12, control.signal);
  control.abort();
  await sleeping;
  await systemClock.sleep(10 ** 12, control.signal);
});

test('clock: a sleep longer than a timer can hold neither ends early nor spins', async () => {
  const timers = spyOn(globalThis, 'setTimeout');
  const control = new AbortController();
  let ended = false;
  const sleeping = systemClock.sleep(2 ** 31 + 5, control.signal).then(() => {
    ended = true;
  });
  await Bun.sleep(20);
  expect(ended).toBe(false);
  expect(timers).toHaveBeenCalledTimes(1);
  timers.mockRestore();
  control.abort();
  await sleeping;
});
