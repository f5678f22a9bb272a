import { describe, expect, test } from 'bun:test';
import { NAME } from '../../src/model/id.ts';
import {
  groupLabel,
  IN_FLIGHT_STATES,
  isInFlight,
  isTerminal,
  LIVE_STATES,
  nameFor,
  PREDECESSORS,
  profileOf,
  projectLabel,
  SESSION_EVENTS,
  SESSION_STATES,
  type SessionEvent,
  type SessionState,
  TERMINAL_STATES,
} from '../../src/model/session.ts';

describe('the state machine', () => {
  test('every event only uses cells of the matrix (I1, MODEL §2.2)', () => {
    for (const [name, rule] of Object.entries(SESSION_EVENTS)) {
      const strangers = rule.from.filter((state) => !PREDECESSORS[rule.to].includes(state));
      expect({ name, strangers }).toEqual({ name, strangers: [] });
      expect(new Set(rule.from).size).toBe(rule.from.length);
    }
  });

  test('the 25 cells of the five old states are exactly the known ones (O-05)', () => {
    const five = ['booting', 'working', 'stalled', 'completed', 'zombie'] as const;
    const known: Record<(typeof five)[number], SessionState[]> = {
      booting: [],
      working: ['booting', 'working', 'stalled'],
      stalled: ['booting', 'working', 'stalled'],
      completed: ['booting', 'working', 'stalled', 'zombie', 'completed'],
      zombie: ['booting', 'working', 'stalled', 'zombie'],
    };
    for (const to of five) {
      for (const from of five) {
        expect({ to, from, allowed: PREDECESSORS[to].includes(from) }).toEqual({
          to,
          from,
          allowed: known[to].includes(from),
        });
      }
    }
  });

  test('completed is absorbing, a zombie only becomes completed, booting comes from the queue alone (O-06)', () => {
    const next = (from: SessionState) =>
      SESSION_STATES.filter((to) => PREDECESSORS[to].includes(from) && to !== from).sort();
    expect(next('completed')).toEqual([]);
    expect(next('zombie')).toEqual(['completed']);
    expect(next('failed')).toEqual(['queued']);
    expect(next('stopped')).toEqual(['queued']);
    expect(PREDECESSORS.booting).toEqual(['queued']);
  });

  test('whatever speaks of one turn is fenced, and nobody else is', () => {
    const fenced = (Object.keys(SESSION_EVENTS) as SessionEvent[]).filter((event) => SESSION_EVENTS[event].fenced);
    expect(fenced.sort()).toEqual(['bury', 'complete', 'fail', 'first_event', 'park', 'progress', 'rest', 'stall']);
  });

  test('live, in flight and terminal are what MODEL §2.1 says, parked is live', () => {
    expect([...LIVE_STATES, ...TERMINAL_STATES].sort()).toEqual([...SESSION_STATES].sort());
    for (const state of SESSION_STATES) {
      expect(isTerminal(state)).toBe(!(LIVE_STATES as readonly string[]).includes(state));
      expect(isInFlight(state)).toBe(['booting', 'working', 'stalled'].includes(state));
    }
    expect([...IN_FLIGHT_STATES]).toEqual(['booting', 'working', 'stalled']);
  });

  test('every live state can be left by stop, and every one that waits can go on', () => {
    for (const state of LIVE_STATES) expect(SESSION_EVENTS.stop.from as readonly string[]).toContain(state);
    const onward: Record<string, SessionEvent> = { queued: 'claim_first', idle: 'claim_next', parked: 'release' };
    for (const [state, event] of Object.entries(onward)) {
      expect(SESSION_EVENTS[event].from as readonly string[]).toContain(state);
    }
  });
});

describe('names (O-74)', () => {
  test.each([
    ['builder', 'Fix the login form!', 'builder-fix-the-login-form'],
    ['scout', '  Über Straße: 2nd try  ', 'scout-u-ber-stra-e-2nd-try'],
    ['solo', '修复登录', 'solo-task'],
    ['solo', 'internationalization-of-everything-we-have', 'solo-internationalization-of'],
    ['solo', 'x'.repeat(90), `solo-${'x'.repeat(28)}`],
    ['solo', '--dangerous ../../etc/passwd', 'solo-dangerous-etc-passwd'],
  ])('%s: %s', (role, task, expected) => {
    expect(nameFor(role, task)).toBe(expected);
    expect(nameFor(role, task)).toMatch(NAME);
  });
});

describe('labels (E-003)', () => {
  test('project and group come from the repository and the task', () => {
    expect(projectLabel('/home/me/checkout-api', undefined)).toBe('checkout-api');
    expect(groupLabel('stabilize auth callback', undefined)).toBe('stabilize auth callback');
  });

  test('a given label is trimmed, a blank one counts as absent', () => {
    expect(projectLabel('/home/me/checkout-api/', '  shop  ')).toBe('shop');
    expect(projectLabel('/home/me/checkout-api/', '   ')).toBe('checkout-api');
    expect(groupLabel('  stabilize auth callback ', ' \n ')).toBe('stabilize auth callback');
    expect(groupLabel('task', ' nightly ')).toBe('nightly');
  });

  test('without anything there is still a label', () => {
    expect(projectLabel('/', undefined)).toBe('workspace');
    expect(groupLabel('   ', undefined)).toBe('general');
  });
});

test('a profile snapshot that does not parse counts as none (E-023)', () => {
  expect(profileOf({ profile_json: null })).toBeNull();
  expect(profileOf({ profile_json: '{"profile_name":' })).toBeNull();
  expect(profileOf({ profile_json: '{"profile_name":"careful"}' })?.profile_name).toBe('careful');
});
