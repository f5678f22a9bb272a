import { expect, test } from 'bun:test';
import { systemClock } from '../../src/sys/clock.ts';
import { mayRestart } from '../../src/watchdog/intensity.ts';
import { Restarter } from '../../src/watchdog/restarter.ts';

const RARE = { max: 3, within_ms: 1_000 };

test('at most so many restarts within the window; older ones do not count', () => {
  expect(mayRestart([], RARE, 0)).toBe(true);
  expect(mayRestart([0, 10], RARE, 20)).toBe(true);
  expect(mayRestart([0, 10, 20], RARE, 20)).toBe(false);
  expect(mayRestart([0, 10, 20], RARE, 999)).toBe(false);
  expect(mayRestart([0, 10, 20], RARE, 1_000)).toBe(true);
  expect(mayRestart([0, 1, 2, 3, 4, 5], { ...RARE, max: 0 }, 10_000)).toBe(false);
});

test('a process that does not stay up is left down after five starts, one word is said, and later it is tried again', async () => {
  let now = 0;
  const calls: string[] = [];
  const note = (what: string) => async () => void calls.push(what);
  const clock = { ...systemClock, monotonic: () => now };
  const restarter = new Restarter({ clock, start: note('start'), give_up: note('give up') });
  for (; now < 30_000; now += 1_000) await restarter.restart();
  expect(calls).toEqual(['start', 'start', 'start', 'start', 'start', 'give up']);
  now = 60_000;
  expect(await restarter.restart()).toBe(true);
});

test('a start that fails counts as one', async () => {
  let starts = 0;
  const restarter = new Restarter({
    clock: { ...systemClock, monotonic: () => 0 },
    start: async () => {
      starts += 1;
      throw new Error('no such program');
    },
    give_up: async () => undefined,
  });
  for (let i = 0; i < 9; i += 1) await restarter.restart().catch(() => 'failed');
  expect(starts).toBe(5);
});
