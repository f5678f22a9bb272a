import { describe, expect, test } from 'bun:test';
import { systemClock } from '../../src/sys/clock.ts';
import { mayRestart, RESTARTS, seenAgain } from '../../src/watchdog/intensity.ts';
import { Restarter } from '../../src/watchdog/restarter.ts';

const RARE = { max: 3, within_ms: 1_000, longest_ms: 5_000 };
const HOUR = 3_600_000;

describe('how often (pure)', () => {
  test('at once up to the most; then after a pause that doubles up to the longest', () => {
    expect(mayRestart([], RARE, 0)).toBe(true);
    expect(mayRestart([0, 10], RARE, 10)).toBe(true);
    const pauses = (instants: number[]) =>
      [1_000, 2_000, 4_000, 5_000].filter(
        (ms) => mayRestart(instants, RARE, 20 + ms) && !mayRestart(instants, RARE, 20 + ms - 1),
      );
    expect(pauses([0, 10, 20])).toEqual([1_000]);
    expect(pauses([-1, 0, 10, 20])).toEqual([2_000]);
    expect(pauses([-2, -1, 0, 10, 20])).toEqual([4_000]);
    expect(pauses([-3, -2, -1, 0, 10, 20])).toEqual([5_000]);
    expect(pauses([...new Array(5_000).fill(0), 20])).toEqual([5_000]);
    expect(mayRestart([], { ...RARE, max: 0 }, 10_000)).toBe(false);
  });

  test('one that is seen again lasts, unless it is another one or nobody looked for a window', () => {
    const first = seenAgain(null, 7, RARE, 100);
    expect(first).toEqual({ pid: 7, since: 100, last: 100 });
    expect(seenAgain(first, 7, RARE, 1_099)).toEqual({ pid: 7, since: 100, last: 1_099 });
    expect(seenAgain(first, 8, RARE, 200)).toEqual({ pid: 8, since: 200, last: 200 });
    expect(seenAgain(first, 7, RARE, 1_100)).toEqual({ pid: 7, since: 1_100, last: 1_100 });
  });
});

/** A restarter that is looked at every `every_ms`, of a process that lives so long after each start. */
function looked(lives_ms: (start: number) => number, every_ms = 5_000) {
  let [now, dies_at, pid] = [0, 0, 0];
  const calls = { starts: [] as number[], give_ups: [] as number[] };
  const restarter = new Restarter({
    clock: { ...systemClock, monotonic: () => now },
    intensity: RESTARTS,
    start: async () => {
      calls.starts.push(now);
      pid += 1;
      dies_at = now + lives_ms(calls.starts.length);
    },
    give_up: async () => void calls.give_ups.push(now),
  });
  const until = async (end: number) => {
    for (; now < end; now += every_ms) {
      if (now < dies_at) restarter.sawWell(pid);
      else await restarter.restart();
    }
    return calls;
  };
  return { until, restarter, calls };
}

describe('a process that does not stay up', () => {
  test.each([0, 10_000, 59_000])(
    'that lives for %p ms: tried rarely for eight hours, and one word is said',
    async (ms) => {
      const { starts, give_ups } = await looked(() => ms).until(8 * HOUR);
      expect(give_ups.length).toBe(1);
      expect([starts.length > 12, starts.length <= 19]).toEqual([true, true]);
      expect(Math.max(...starts.map((at, i) => at - (starts[i - 1] ?? 0)))).toBeLessThanOrEqual(HOUR + 65_000);
    },
  );

  test('one start that outlives the window ends the episode: the next one has all attempts and a word of its own', async () => {
    const world = looked((start) => (start === 7 ? 120_000 : 0));
    const { starts, give_ups } = await world.until(3 * HOUR);
    const [first = 0, second = 0] = give_ups;
    expect(give_ups.length).toBe(2);
    // Five, one word, the sixth and the seventh after their pauses; that one lives, and after it five once more.
    const at = (i: number) => starts[i] ?? Number.NaN;
    expect([at(4) < first, first < at(5), at(11) < second, second < at(12)]).toEqual([true, true, true, true]);
    expect(starts.slice(7, 12).map((start) => start - at(7))).toEqual([0, 5_000, 10_000, 15_000, 20_000]);
  });

  test('a start that fails counts as one', async () => {
    let starts = 0;
    const restarter = new Restarter({
      clock: { ...systemClock, monotonic: () => 0 },
      intensity: RESTARTS,
      start: async () => {
        starts += 1;
        throw new Error('no such program');
      },
      give_up: async () => undefined,
    });
    for (let i = 0; i < 9; i += 1) await restarter.restart().catch(() => 'failed');
    expect(starts).toBe(5);
  });

  test('a word that could not be said is said at the next look, and there is one start at a time', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let words = 0;
    const make = (start: () => Promise<void>, max: number) =>
      new Restarter({
        clock: { ...systemClock, monotonic: () => 0 },
        intensity: { ...RESTARTS, max },
        start,
        give_up: async () => {
          words += 1;
          if (words < 3) throw new Error('the store is busy');
        },
      });
    const slow = make(() => promise, 5);
    const first = slow.restart();
    expect(await slow.restart()).toBe(false);
    resolve();
    expect(await first).toBe(true);
    const down = make(async () => undefined, 0);
    for (let i = 0; i < 6; i += 1) await down.restart().catch(() => 'failed');
    expect(words).toBe(3);
  });
});
