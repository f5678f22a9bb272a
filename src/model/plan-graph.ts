/** Steps by index; `needs[i]` are the indexes of those that `i` needs. Nothing here calls itself: chains may be long. */
export type Needs = readonly (readonly number[])[];

/**
 * An order in which needs come before what needs them, and which is the given one wherever that is free. Whoever is in a
 * cycle, or needs something that is, comes where the cycle was first met.
 */
export function orderOf(needs: Needs): number[] {
  const order: number[] = [];
  const seen = new Uint8Array(needs.length);
  const stack: { at: number; next: number }[] = [];
  for (let first = 0; first < needs.length; first++) {
    if (seen[first] === 1) continue;
    seen[first] = 1;
    stack.push({ at: first, next: 0 });
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const need = needs[top.at]?.[top.next++];
      if (need === undefined) {
        order.push(top.at);
        stack.pop();
      } else if (seen[need] !== 1) {
        seen[need] = 1;
        stack.push({ at: need, next: 0 });
      }
    }
  }
  return order;
}

/** Every knot of steps that wait for one another, as one cycle each: `[a, b, c]` means a needs b, b needs c, c needs a. */
export function cyclesOf(needs: Needs): number[][] {
  const knots = knotsOf(needs);
  const knot = new Int32Array(needs.length).fill(-1);
  knots.forEach((members, k) => {
    for (const at of members) knot[at] = k;
  });
  return knots.flatMap((members, k) => {
    const start = Math.min(...members);
    const isOwnNeed = members.length === 1 && needs[start]?.includes(start);
    if (members.length === 1) return isOwnNeed ? [[start]] : [];
    return [shortestThrough(needs, start, (at) => knot[at] === k)];
  });
}

/** The shortest way from `start` back to itself among `isIn`; there is one. */
function shortestThrough(needs: Needs, start: number, isIn: (at: number) => boolean): number[] {
  const from = new Map<number, number>();
  const queue = [start];
  for (let i = 0; i < queue.length; i++) {
    const at = queue[i] ?? start;
    for (const need of needs[at] ?? []) {
      if (need === start) {
        const way = [at];
        for (let back = at; back !== start; ) {
          back = from.get(back) ?? start;
          way.push(back);
        }
        return way.reverse();
      }
      if (!isIn(need) || from.has(need)) continue;
      from.set(need, at);
      queue.push(need);
    }
  }
  return [start];
}

/** Strongly connected components (Tarjan), with a stack of its own. */
function knotsOf(needs: Needs): number[][] {
  const found = new Int32Array(needs.length).fill(-1);
  const low = new Int32Array(needs.length);
  const isOpen = new Uint8Array(needs.length);
  const open: number[] = [];
  const knots: number[][] = [];
  let count = 0;
  const enter = (at: number) => {
    found[at] = low[at] = count++;
    isOpen[at] = 1;
    open.push(at);
    return { at, next: 0 };
  };
  for (let first = 0; first < needs.length; first++) {
    if (found[first] !== -1) continue;
    const stack = [enter(first)];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const { at } = top;
      const need = needs[at]?.[top.next++];
      if (need !== undefined) {
        if (found[need] === -1) stack.push(enter(need));
        else if (isOpen[need] === 1) low[at] = Math.min(low[at] ?? 0, found[need] ?? 0);
        continue;
      }
      stack.pop();
      const below = stack.at(-1)?.at;
      if (below !== undefined) low[below] = Math.min(low[below] ?? 0, low[at] ?? 0);
      if (low[at] !== found[at]) continue;
      const members = open.splice(open.lastIndexOf(at));
      for (const member of members) isOpen[member] = 0;
      knots.push(members);
    }
  }
  return knots;
}

/** Length of the longest way through the graph, in the weights of its steps; the steps on it, first to last. */
export function longestPath(needs: Needs, weight: (at: number) => number): { length: number; path: number[] } {
  const best = new Float64Array(needs.length);
  const before = new Int32Array(needs.length).fill(-1);
  let last = -1;
  for (const at of orderOf(needs)) {
    for (const need of needs[at] ?? []) {
      if ((best[need] ?? 0) > (best[at] ?? 0) || before[at] === -1) {
        best[at] = best[need] ?? 0;
        before[at] = need;
      }
    }
    best[at] = (best[at] ?? 0) + weight(at);
    if (last === -1 || (best[at] ?? 0) > (best[last] ?? 0)) last = at;
  }
  const path: number[] = [];
  for (let at = last; at !== -1; at = before[at] ?? -1) path.push(at);
  return { length: last === -1 ? 0 : (best[last] ?? 0), path: path.reverse() };
}
