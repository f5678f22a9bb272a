import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { cyclesOf, longestPath, orderOf } from '../../src/model/plan-graph.ts';

const ring = (n: number) => Array.from({ length: n }, (_, i) => [(i + 1) % n]);

test.each([1, 2, 200, 10_000])('a cycle of %d is found once, in its order', (n) => {
  expect(cyclesOf(ring(n))).toEqual([Array.from({ length: n }, (_, i) => i)]);
});

test('knots apart are told apart, and of a knot its shortest cycle through the first', () => {
  // 0 <-> 1 with a detour over 2; 3 alone; 4 -> 5 -> 4
  expect(cyclesOf([[2, 1], [0], [1], [0], [5], [4]])).toEqual([
    [0, 1],
    [4, 5],
  ]);
});

test('an order that is right stays as it is; otherwise needs come first', () => {
  expect(orderOf([[], [0], [], [1]])).toEqual([0, 1, 2, 3]);
  expect(orderOf([[2], [], [3], []])).toEqual([3, 2, 0, 1]);
});

test('needs come before those that need them, in any graph without cycles; and such a graph has no cycle', () => {
  const graph = fc.array(fc.array(fc.nat(), { maxLength: 4 }), { maxLength: 60 }).chain((raw) =>
    fc
      .shuffledSubarray(
        raw.map((_, i) => i),
        { minLength: raw.length },
      )
      .map((names) => ({ raw, names })),
  );
  fc.assert(
    fc.property(graph, ({ raw, names }) => {
      // Steps need only steps before them, then everything is renamed.
      const needs: number[][] = raw.map(() => []);
      raw.forEach((list, i) => {
        needs[names[i] ?? 0] = i === 0 ? [] : list.map((n) => names[n % i] ?? 0);
      });
      expect(cyclesOf(needs)).toEqual([]);
      const order = orderOf(needs);
      expect([...order].sort((a, b) => a - b)).toEqual(needs.map((_, i) => i));
      const place = new Map(order.map((at, i) => [at, i]));
      needs.forEach((list, i) => {
        for (const need of list) expect(place.get(need) ?? 0).toBeLessThan(place.get(i) ?? 0);
      });
      const { length, path } = longestPath(needs, () => 1);
      expect(path).toHaveLength(length);
      for (const [i, at] of path.entries()) if (i > 0) expect(needs[at]).toContain(path[i - 1] ?? -1);
    }),
  );
});

test('the longest way counts weights and not steps', () => {
  expect(longestPath([[], [], [0, 1], [2]], (at) => [1, 9, 2, 1][at] ?? 0)).toEqual({ length: 12, path: [1, 2, 3] });
  expect(longestPath([], () => 1)).toEqual({ length: 0, path: [] });
});
