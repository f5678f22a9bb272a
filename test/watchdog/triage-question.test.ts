import { describe, expect, test } from 'bun:test';
import { SESSION_STATES, type SessionState } from '../../src/model/session.ts';
import { questionState } from '../../src/watchdog/triage-question.ts';
import { START } from './watch-facts.ts';

const ask = (state: SessionState | null, waited: number, awake_since = START) =>
  questionState(
    { session: state === null ? null : { state }, asked_at: START },
    { timeout_ms: 30_000, awake_since },
    START + waited,
  );

describe('an open question (O-27)', () => {
  const EXPECTED: Record<SessionState, [in_time: string, late: string]> = {
    queued: ['waiting', 'silent'],
    booting: ['waiting', 'silent'],
    working: ['waiting', 'silent'],
    idle: ['waiting', 'silent'],
    stalled: ['waiting', 'silent'],
    parked: ['silent', 'silent'],
    completed: ['answered', 'answered'],
    failed: ['silent', 'silent'],
    stopped: ['silent', 'silent'],
    zombie: ['silent', 'silent'],
  };

  test.each(SESSION_STATES.map((state) => [state, ...EXPECTED[state]] as const))(
    'its session is %s: %s, and %s when the time is over',
    (state, in_time, late) => {
      expect([ask(state, 30_000), ask(state, 30_001)].map(String)).toEqual([in_time, late]);
    },
  );

  test('its session is gone: no answer; and time that nobody was awake in does not count', () => {
    expect(ask(null, 0)).toBe('silent');
    expect(ask('working', 90_000, START + 60_000)).toBe('waiting');
    expect(ask('working', 90_001, START + 60_000)).toBe('silent');
  });
});
