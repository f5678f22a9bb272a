import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  buildQueue,
  type Candidate,
  canAutoRebase,
  classify,
  classifyOnce,
  orderCandidates,
  pairKey,
  pairsToCompare,
} from '../../src/model/merge-queue.ts';
import { isTerminal, SESSION_STATES } from '../../src/model/session.ts';

const candidate = (session_id: string, more: Partial<Candidate> = {}): Candidate => ({
  ...{ session_id, task: 't', project: 'p', task_group: 'g', branch: `b-${session_id}`, base_branch: 'main' },
  ...{ state: 'completed', updated_at: 1, worktree_health: 'in_progress', error: null, base_conflicts: [] },
  ...{ base_summary: '', base_preview: null, dirty: false, dirty_preview: null, held: null, paths: [] },
  ...more,
});

const conflict = { conflicts: ['f'], earlier_preview: 'e', later_preview: 'l' };
const blocks = (...pairs: [string, string][]) =>
  new Map(pairs.map(([a, b]) => [pairKey(candidate(a), candidate(b)), conflict]));

describe('blockers of its own, in their order (E-160, E-161)', () => {
  const conflicted = {
    worktree_health: 'conflicted' as const,
    base_summary: 'conflicts with main: f',
    base_conflicts: ['f'],
  };
  test.each<[string, Partial<Candidate>, string[]]>([
    ['active', { state: 'working' }, ['session is still Working']],
    ['idle and dirty', { state: 'idle', dirty: true }, ['session is still Idle', 'worktree has uncommitted changes']],
    [
      'conflicted and dirty',
      { ...conflicted, dirty: true },
      ['conflicts with main: f', 'worktree has uncommitted changes'],
    ],
    ['unreadable', { error: 'no such directory', dirty: true }, ['no such directory']],
    ['held', { held: 'its gate failed' }, ['its gate failed']],
  ])('%s', (_, more, summaries) => {
    const [entry] = buildQueue([candidate('a', more)], new Map());
    expect(entry?.blocked_by.map((blocker) => blocker.summary)).toEqual(summaries);
    expect(entry?.blocked_by.every((blocker) => blocker.session_id === 'a')).toBe(true);
    expect(entry?.suggested_action).toBe(summaries[0] ?? '');
    expect([entry?.ready_to_merge, entry?.queue_position]).toEqual([false, null]);
  });
});

test('what is not mergeable itself blocks nobody; several blockers are all named (E-158, E-161)', () => {
  const all = [candidate('a', { dirty: true }), candidate('b'), candidate('c'), candidate('d')];
  const entries = buildQueue(all, blocks(['a', 'b'], ['b', 'd'], ['c', 'd']));
  expect(entries.map((entry) => entry.suggested_action)).toEqual([
    'worktree has uncommitted changes',
    'merge in queue order #1',
    'merge in queue order #2',
    'merge after b, c',
  ]);
});

test('finished ones first, then by age, project, group and id (E-158)', () => {
  const ids = orderCandidates([
    candidate('live', { state: 'working', updated_at: 0 }),
    candidate('z', { updated_at: 2 }),
    candidate('b', { updated_at: 1, task_group: 'h' }),
    candidate('c', { updated_at: 1 }),
    candidate('a', { updated_at: 1 }),
    candidate('0', { updated_at: 1, project: 'q' }),
  ]).map((each) => each.session_id);
  expect(ids).toEqual(['a', 'c', 'b', '0', 'z', 'live']);
});

test('only pairs that touch the same path, or one path below another, are compared', () => {
  const all = [
    candidate('a', { paths: ['src/x.ts', 'doc'] }),
    candidate('b', { paths: ['src/y.ts'] }),
    candidate('c', { paths: ['src/x.ts', 'doc/page.md'] }),
    candidate('d', { paths: ['src/x.ts'], dirty: true }),
    candidate('e', { paths: ['src'] }),
  ];
  const pairs = pairsToCompare(orderCandidates(all)).map(([a, b]) => a.session_id + b.session_id);
  expect(pairs).toEqual(['ac', 'ae', 'be', 'ce']);
});

test('classes of what is left: active, dirty, conflicted, blocked; in a single pass conflicts first (E-157, E-165)', () => {
  const classes = (more: Partial<Candidate>) => {
    const [entry] = buildQueue([candidate('a', more)], new Map());
    return entry === undefined ? [] : [classify(entry), classifyOnce(entry)];
  };
  const worktree_health = 'conflicted' as const;
  expect(classes({})).toEqual(['ready', 'ready']);
  expect(classes({ state: 'idle', dirty: true, worktree_health })).toEqual(['active', 'active']);
  expect(classes({ dirty: true, worktree_health })).toEqual(['dirty', 'conflicted']);
  expect(classes({ worktree_health })).toEqual(['conflicted', 'conflicted']);
  expect(classes({ held: 'gate' })).toEqual(['blocked', 'blocked']);
});

test('rebased by itself: only what conflicts with the target and nothing else (E-164)', () => {
  const may = (more: Partial<Candidate>) => buildQueue([candidate('a', more)], new Map()).map(canAutoRebase)[0];
  const worktree_health = 'conflicted' as const;
  expect(may({ worktree_health })).toBe(true);
  expect(may({})).toBe(false);
  expect(may({ worktree_health, dirty: true })).toBe(false);
  expect(may({ worktree_health, state: 'working' })).toBe(false);
  expect(may({ worktree_health, held: 'git rebase failed' })).toBe(false);
  const [, later] = buildQueue([candidate('a'), candidate('b')], blocks(['a', 'b']));
  expect(later && canAutoRebase(later)).toBe(false);
});

const anyCandidate = fc
  .record({
    state: fc.constantFrom(...SESSION_STATES),
    updated_at: fc.integer({ min: 0, max: 3 }),
    dirty: fc.boolean(),
    worktree_health: fc.constantFrom('clear' as const, 'in_progress' as const, 'conflicted' as const),
    held: fc.option(fc.constant('held')),
    error: fc.option(fc.constant('unreadable')),
    paths: fc.array(fc.constantFrom('a', 'a/b', 'c', 'd/e'), { maxLength: 3 }),
  })
  .map((more) => ({ ...more, base_summary: 'conflicts with main' }));
const anyQueue = fc.array(anyCandidate, { maxLength: 8 }).chain((list) => {
  const all = list.map((more, i) => candidate(String.fromCharCode(97 + i), more));
  const pairs = pairsToCompare(orderCandidates(all)).map(([a, b]) => [a.session_id, b.session_id] as [string, string]);
  return fc.record({ all: fc.constant(all), hits: fc.subarray(pairs) });
});

test('whatever the facts: nobody is lost, positions have no gap, blockers are earlier and mergeable', () => {
  fc.assert(
    fc.property(anyQueue, fc.integer(), ({ all, hits }, seed) => {
      const entries = buildQueue(all, blocks(...hits));
      const shuffled = all.toSorted(
        (a, b) => ((a.session_id.charCodeAt(0) * seed) % 7) - ((b.session_id.charCodeAt(0) * seed) % 7),
      );
      expect(buildQueue(shuffled, blocks(...hits))).toEqual(entries);
      expect(entries.map((entry) => entry.session_id).sort()).toEqual(all.map((each) => each.session_id).sort());
      const ready = entries.filter((entry) => entry.ready_to_merge);
      expect(ready.map((entry) => entry.queue_position)).toEqual(ready.map((_, i) => i + 1));
      for (const [at, entry] of entries.entries()) {
        expect(entry.ready_to_merge).toBe(entry.blocked_by.length === 0);
        if (entry.ready_to_merge) {
          expect([isTerminal(entry.state), entry.dirty, entry.worktree_health === 'conflicted']).toEqual([
            true,
            false,
            false,
          ]);
        }
        expect(entry.suggested_action).not.toBe('');
        for (const blocker of entry.blocked_by.filter(({ session_id }) => session_id !== entry.session_id)) {
          const place = entries.findIndex(({ session_id }) => session_id === blocker.session_id);
          expect(place).toBeLessThan(at);
          expect(entries[place]?.blocked_by.every(({ session_id }) => session_id !== blocker.session_id)).toBe(true);
        }
      }
      // Two that conflict are never ready together.
      const isReady = (id: string) => ready.some((entry) => entry.session_id === id);
      for (const [a, b] of hits) expect(isReady(a) && isReady(b)).toBe(false);
    }),
  );
});
