import { expect, test } from 'bun:test';
import { Awake } from '../../src/watchdog/awake.ts';

const WALL = 1_000_000_000_000;
const PLANNED = 30_000;

/** Looks at these instants, wall and monotonic milliseconds after the start; what the last one said and since when it counts. */
function after(...looks: [wall: number, monotonic: number][]) {
  const awake = new Awake(WALL, 500);
  const said = looks.map(([wall, monotonic]) => awake.look(WALL + wall, 500 + monotonic, PLANNED));
  return { said: said.at(-1), since: awake.since - WALL };
}

test('a look in time, or a little late, changes nothing', () => {
  expect(after([30_000, 30_000], [60_900, 60_900])).toEqual({ said: 'steady', since: 0 });
  expect(after([35_000, 35_000])).toEqual({ said: 'steady', since: 0 });
});

test('a look that comes far too late starts every age anew: SIGSTOP, swap (fault 14)', () => {
  expect(after([35_001, 35_001])).toEqual({ said: 'gap', since: 35_001 });
  expect(after([35_001, 35_001], [65_000, 65_000])).toEqual({ said: 'steady', since: 35_001 });
});

test('a wall clock that was set, either way, and a machine that slept do so too (fault 13)', () => {
  expect(after([30_000 + 2_001, 30_000])).toEqual({ said: 'jump', since: 32_001 });
  expect(after([30_000 + 2_000, 30_000])).toEqual({ said: 'steady', since: 0 });
  expect(after([30_000 - 2_001, 30_000])).toEqual({ said: 'jump', since: 27_999 });
  expect(after([-3_600_000, 30_000])).toEqual({ said: 'jump', since: -3_600_000 });
  expect(after([8 * 3_600_000, 10_000])).toEqual({ said: 'jump', since: 8 * 3_600_000 });
});
