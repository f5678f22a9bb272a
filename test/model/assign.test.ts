import { describe, expect, test } from 'bun:test';
import {
  assign,
  type DelegateFact,
  delegatesFor,
  handoffContext,
  matchedTerms,
  matchTerms,
  previewOf,
} from '../../src/model/assign.ts';
import { isSameHarness } from '../../src/session/same-harness.ts';

const delegate = (id: string, more: Partial<DelegateFact> = {}): DelegateFact => ({
  ...{ id, name: id, harness: 'claude', state: 'idle', unread_handoffs: 0, updated_at: 100, context: [], ...more },
});
const chosen = (delegates: DelegateFact[], max_delegates = 4, task = 'Review billing edge cases') => {
  const assignment = assign({ task, delegates, max_delegates });
  return [assignment.action, assignment.delegate?.id ?? null, assignment.reason];
};

test('terms of a task: long enough, lower-cased, once each, in its order (E-090)', () => {
  expect(matchTerms('Fix src/auth/callback.ts: the auth-callback of Auth, AUTH & it is_ok')).toEqual([
    ...['fix', 'src', 'auth', 'callback.ts', 'the', 'auth-callback', 'is_ok'],
  ]);
  expect(matchTerms('über ab – 12')).toEqual(['ber']);
  expect(matchTerms(' ')).toEqual([]);
});

test('a term matches anywhere in the context, whatever the case (E-091)', () => {
  expect(matchedTerms(['auth', 'recovery', 'sheep'], ['src/AUTH/callback.ts', 'Edge cases of recovery'])).toEqual([
    'auth',
    'recovery',
  ]);
});

describe('delegates for a harness', () => {
  const of = (children: DelegateFact[], harness: string) =>
    delegatesFor(children, (label) => isSameHarness(label, harness)).map(({ id }) => id);
  test('aliases are one harness (E-085)', () => {
    expect(of([delegate('child', { harness: 'claude-code' })], 'claude')).toEqual(['child']);
  });
  test('of a harness that nobody knows the label has to be the same (E-086)', () => {
    const children = [delegate('custom-child', { harness: 'acme-runner' }), delegate('other')];
    expect(of(children, 'acme-runner')).toEqual(['custom-child']);
  });
  test('who has ended, is held or is stuck is none (E-085)', () => {
    const states = ['queued', 'booting', 'working', 'idle', 'parked', 'stalled', 'completed', 'zombie'] as const;
    const children = states.map((state) => delegate(state, { state }));
    expect(of(children, 'claude')).toEqual(['queued', 'booting', 'working', 'idle']);
  });
});

test('an idle delegate without backlog gets it (E-088)', () => {
  expect(chosen([delegate('busy', { state: 'working' }), delegate('idle-worker')], 2)).toEqual([
    'reused_idle',
    'idle-worker',
    'reused idle delegate',
  ]);
});

test('of idle ones the one that knows most about it, then the one that rested longest (E-089)', () => {
  const auth = delegate('auth-worker', {
    updated_at: 900,
    context: ['auth-callback.ts', 'src/auth/callback.ts', 'Auth callback recovery edge cases'],
  });
  const task = 'Investigate auth callback recovery';
  const { delegate: who, terms } = assign({ task, delegates: [delegate('billing'), auth], max_delegates: 4 });
  expect([who?.id, terms]).toEqual(['auth-worker', ['auth', 'callback', 'recovery']]);
  expect(chosen([delegate('late', { updated_at: 5 }), delegate('early', { updated_at: 4 })])[1]).toBe('early');
  expect(chosen([delegate('b'), delegate('a')])[1]).toBe('a');
});

test('an idle one with a backlog is left alone while there is room for another (E-092, E-094)', () => {
  const backed = delegate('idle-worker', { unread_handoffs: 1 });
  expect(chosen([backed])).toEqual(['spawned', null, 'spawned new delegate']);
  expect(chosen([delegate('running', { state: 'working' })])).toEqual(['spawned', null, 'spawned new delegate']);
});

describe('without room', () => {
  const working = (id: string, more: Partial<DelegateFact> = {}) => delegate(id, { state: 'working', ...more });
  test('an idle one that is backed up holds it back', () => {
    const backed = delegate('idle-worker', { unread_handoffs: 1 });
    expect(chosen([backed, working('free')], 2)).toEqual(['deferred_saturated', 'idle-worker', null]);
  });
  test('the best active one gets it, unless it has a backlog (E-096, E-098)', () => {
    expect(chosen([working('w')], 1)).toEqual(['reused_active', 'w', 'reused active delegate at capacity']);
    const busy = working('busy-worker', { unread_handoffs: 1 });
    expect(chosen([busy], 1)).toEqual(['deferred_saturated', 'busy-worker', null]);
    const assignment = assign({ task: 't', delegates: [busy], max_delegates: 1 });
    expect(previewOf(assignment)).toEqual({
      ...{ session_id: 'busy-worker', action: 'deferred_saturated', delegate_state: 'working', handoff_backlog: 1 },
      graph_match_terms: [],
    });
  });
  test('match, then backlog, then age decide between active ones (E-097)', () => {
    const task = 'mend the fence';
    const match = working('match', { unread_handoffs: 2, context: ['fence'], updated_at: 9 });
    expect(chosen([working('a'), match], 2, task)).toEqual(['deferred_saturated', 'match', null]);
    expect(chosen([working('a', { unread_handoffs: 1 }), working('b', { updated_at: 900 })], 2)[1]).toBe('b');
    expect(chosen([working('a', { updated_at: 900 }), working('b', { updated_at: 800 })], 2)[1]).toBe('b');
  });
  test('nobody at all, and no room for anybody: a fallback is started (E-087)', () => {
    expect(chosen([], 0)).toEqual(['spawned', null, 'spawned fallback delegate']);
  });
});

test('a preview of a new one names nobody (E-099)', () => {
  expect(previewOf(assign({ task: 't', delegates: [], max_delegates: 4 }))).toEqual({
    ...{ session_id: null, action: 'spawned', delegate_state: null, handoff_backlog: 0, graph_match_terms: [] },
  });
});

test('a handoff says where it comes from (E-083)', () => {
  const lead = { id: 'agent-a', harness: 'claude', working_dir: '/farm', branch: null, worktree_path: null };
  expect(handoffContext(lead, 'why')).toBe('Assigned by agent-a [claude] | cwd /farm | why');
  expect(handoffContext({ ...lead, branch: 'b', worktree_path: '/w' }, 'why')).toContain('| worktree b (/w) | why');
});
