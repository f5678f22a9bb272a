import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { incidentKey, type Overlap, overlapsOf, resolutionOf, type Touch } from '../../src/model/conflict.ts';
import { CONFLICT_STRATEGIES, FILE_ACTIONS } from '../../src/model/incident.ts';

const touch = (session_id: string, at: number, more: Partial<Touch> = {}): Touch => ({
  ...{ session_id, repo_root: '/farm', path: 'src/lib.rs', action: 'modify', at, ...more },
});
const pairs = (touches: Touch[]) =>
  overlapsOf(touches).map(({ path, earlier, later }) => [path, earlier.session_id, later.session_id]);

test('two writers of one path are one overlap; the newest of three is against each other one (E-128)', () => {
  expect(pairs([touch('a', 2), touch('b', 3)])).toEqual([['src/lib.rs', 'a', 'b']]);
  expect(pairs([touch('c', 9), touch('a', 2), touch('b', 3)])).toEqual([
    ['src/lib.rs', 'a', 'c'],
    ['src/lib.rs', 'b', 'c'],
  ]);
  expect(pairs([touch('a', 2), touch('a', 5)])).toEqual([]);
});

test('at the same instant the smaller id was first (E-128)', () => {
  expect(pairs([touch('b', 3), touch('a', 3)])).toEqual([['src/lib.rs', 'a', 'b']]);
});

test('a read is no write, and hides none (CX-25)', () => {
  expect(pairs([touch('a', 2), touch('b', 3, { action: 'read' })])).toEqual([]);
  expect(pairs([touch('a', 2), touch('a', 9, { action: 'read' }), touch('b', 3)])).toEqual([['src/lib.rs', 'a', 'b']]);
});

test('of each session its newest write counts (E-128)', () => {
  const touches = [touch('a', 2), touch('b', 3), touch('a', 7, { action: 'delete' })];
  expect(overlapsOf(touches)).toMatchObject([
    { earlier: { session_id: 'b' }, later: { session_id: 'a', at: 7, action: 'delete' } },
  ]);
});

test('the same path of another repository is another file (CX-26)', () => {
  expect(pairs([touch('a', 2), touch('b', 3, { repo_root: '/barn' })])).toEqual([]);
});

test('the key names the path and both ids, the smaller one first (E-129)', () => {
  expect(incidentKey('src/lib.rs', 'session-b', 'session-a')).toBe('src/lib.rs::session-a::session-b');
});

test('who is held, and the words for it (E-130, E-131, E-132, E-133)', () => {
  const [overlap] = overlapsOf([touch('o', 2), touch('l', 3)]) as [Overlap];
  expect(CONFLICT_STRATEGIES.map((strategy) => resolutionOf(strategy, overlap))).toEqual([
    {
      active: 'o',
      paused: 'l',
      summary: 'Escalated overlap on src/lib.rs; paused later session l while o stays active',
    },
    {
      active: 'l',
      paused: 'o',
      summary: 'Applied last-write-wins on src/lib.rs; kept later session l active and paused o',
    },
    {
      active: 'o',
      paused: 'l',
      summary: 'Queued manual merge on src/lib.rs; paused later session l until merge review against o',
    },
  ]);
});

const touches = fc.array(
  fc.record({
    session_id: fc.constantFrom('a', 'b', 'c', 'd'),
    repo_root: fc.constantFrom('/farm', '/barn'),
    path: fc.constantFrom('x', 'y'),
    action: fc.constantFrom(...FILE_ACTIONS),
    at: fc.nat(5),
  }),
  { maxLength: 30 },
);

test('every path with n writers has n-1 overlaps, all against its newest write, whatever the order (E-128)', () => {
  fc.assert(
    fc.property(touches, fc.nat(), (list, seed) => {
      const found = overlapsOf(list);
      const writes = list.filter(({ action }) => action !== 'read');
      const places = Map.groupBy(writes, ({ repo_root, path }) => `${repo_root} ${path}`);
      const expected = [...places.values()].reduce(
        (sum, each) => sum + new Set(each.map(({ session_id }) => session_id)).size - 1,
        0,
      );
      expect(found).toHaveLength(expected);
      for (const { repo_root, path, earlier, later, key } of found) {
        const newest = Math.max(...(places.get(`${repo_root} ${path}`) ?? []).map(({ at }) => at));
        expect(later.at).toBe(newest);
        expect(earlier.session_id).not.toBe(later.session_id);
        expect(key).toBe(incidentKey(path, later.session_id, earlier.session_id));
      }
      const keysOf = (each: Overlap[]) => each.map(({ repo_root, key }) => `${repo_root} ${key}`).sort();
      const turned = list.map((each, i) => ({ each, rank: (i * 7919 + seed) % 31 })).sort((a, b) => a.rank - b.rank);
      expect(keysOf(overlapsOf(turned.map(({ each }) => each)))).toEqual(keysOf(found));
    }),
  );
});
