import { describe, expect, test } from 'bun:test';
import { AppError } from '../../src/model/error.ts';
import { newId } from '../../src/model/id.ts';
import { RESERVATION_STATUSES, RESERVATION_TTL_MS } from '../../src/model/reservation.ts';
import {
  checkReservationId,
  corruptionOf,
  type OwnerLife,
  ownerLife,
  reservationPredecessors,
} from '../../src/model/reservation-machine.ts';
import { probeHarness } from '../../src/model/reservation-probe.ts';
import { isSameHash } from '../../src/model/reservation-token.ts';
import { ownerProbe } from '../../src/session/owner-probe.ts';
import { DEAD_PID, living, reservationRow, thisBoot } from '../support/reservation.ts';

test('the four words (H-19), and the time to live of seven days (H-27)', () => {
  expect([...RESERVATION_STATUSES].sort()).toEqual(['abandoned', 'active', 'complete', 'merged']);
  expect(RESERVATION_TTL_MS).toBe(7 * 24 * 3600 * 1000);
});

test('the machine: every pair of statuses and both movers (MODEL §3, CX-05)', () => {
  const legal = (mover: 'owner' | 'merge') =>
    RESERVATION_STATUSES.flatMap((to) => reservationPredecessors(to, mover).map((from) => `${from}>${to}`)).sort();
  expect(legal('owner')).toEqual(['active>abandoned', 'active>complete', 'complete>merged']);
  expect(legal('merge')).toEqual(['active>abandoned', 'active>complete', 'active>merged', 'complete>merged']);
});

describe('ids (H-03, H-04)', () => {
  test('only lowercase letters, digits and hyphens', () => {
    for (const id of ['agent-abc', 'a', '0-9', newId('agent')]) expect(checkReservationId(id)).toBe(id);
    for (const id of ['', '..', '../x', '/etc', 'a/b', 'A', 'a_b', 'a.b', 'a\0', 'a\n', ' a', 'é']) {
      const message = `invalid session ID '${id}': only lowercase alphanumeric and hyphens allowed`;
      expect(() => checkReservationId(id)).toThrow(message);
      expect(caught(() => checkReservationId(id))).toMatchObject({ code: 'session_id_invalid', exitCode: 2 });
    }
  });

  test('generated ones: agent- and 96 random bits in base32 (H-04)', () => {
    const ids = new Set(Array.from({ length: 200 }, () => newId('agent')));
    expect(ids.size).toBe(200);
    for (const id of ids) expect(id).toMatch(/^agent-[a-z2-7]{20}$/);
  });
});

function caught(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('life of an owner', () => {
  const life = (more: Parameters<typeof reservationRow>[0], now = 1_000) => ownerProbe(now)(reservationRow(more));

  test('three values, by pid, start time and boot (H-30, H-31)', () => {
    expect(life({})).toBe('unknown');
    expect(life({ ...living() })).toBe('alive');
    expect(life({ ...living(), pid_start_time: null, boot_id: null })).toBe('alive');
    expect(life({ pid: DEAD_PID })).toBe('dead');
    for (const pid of [0, -1]) expect(life({ pid })).toBe('dead');
    expect(life({ ...living(), boot_id: 'not-the-current-boot' })).toBe('dead');
    expect(life({ ...living(), pid_start_time: '1' })).toBe('dead');
    // Somebody else's process is a process: a signal to it would be refused.
    expect(life({ pid: 1, boot_id: thisBoot() })).toBe('alive');
  });

  test('one that is not active is dead whatever its process does (H-30)', () => {
    for (const status of ['complete', 'abandoned', 'merged'] as const)
      expect(life({ ...living(), status })).toBe('dead');
  });

  test('with a lease the heartbeat decides, to the millisecond (CX-03, HC-13)', () => {
    const row = { status: 'active', started_at: 100, heartbeat_at: 500, lease_ms: 50 } as const;
    const lifes = (process: OwnerLife, now: number) => ownerLife(row, process, now);
    expect([lifes('dead', 550), lifes('unknown', 550), lifes('alive', 550)]).toEqual(['unknown', 'unknown', 'alive']);
    expect([lifes('dead', 551), lifes('unknown', 551), lifes('alive', 551)]).toEqual(['dead', 'dead', 'dead']);
    expect(ownerLife({ ...row, heartbeat_at: null }, 'alive', 150)).toBe('alive');
    expect(ownerLife({ ...row, heartbeat_at: null }, 'alive', 151)).toBe('dead');
    expect(ownerLife({ ...row, lease_ms: null }, 'alive', 1e12)).toBe('alive');
  });
});

test('rows that something else has written are told apart (CX-42)', () => {
  const problem = (more: Parameters<typeof reservationRow>[0]) => corruptionOf(reservationRow(more));
  expect(problem({ attach_precedence_json: '["a","b"]', probe_confidence: 1 })).toBeNull();
  for (const json of ['', '{', '{}', '"a"', '[1]', 'null'])
    expect(problem({ attach_precedence_json: json })).toContain('attach_precedence_json');
  expect(problem({ session_id: 'Agent_1' })).toContain('id');
  for (const share of [-0.1, 1.1]) expect(problem({ probe_confidence: share })).toContain('probe_confidence');
});

test('hashes are the same or not, whatever their length (CX-44)', () => {
  expect([isSameHash('ab', 'ab'), isSameHash('ab', 'ac'), isSameHash('ab', 'abc'), isSameHash('', '')]).toEqual([
    ...[true, false, false, true],
  ]);
});

test('who calls is probed by variables, then by the program that called, else it is the interface (HC-12, HC-14)', () => {
  const said = { provider: null, model: null, thinking_level: null };
  const nobody = { ...said, harness: 'agent-api', probe_source: 'agent_api', probe_confidence: 1 };
  expect(probeHarness({}, [])).toEqual(nobody);
  expect(probeHarness({ CLAUDECODE: ' ', DROVER_AGENT_MODEL: '  ' }, ['/bin/bash'])).toEqual(nobody);
  for (const [name, harness] of [
    ['CLAUDECODE', 'claude'],
    ['CODEX_SANDBOX', 'codex'],
    ['GEMINI_CLI', 'gemini'],
    ['OPENCODE', 'opencode'],
  ])
    expect(probeHarness({ [`${name}`]: '1' }, ['codex'])).toMatchObject({ harness, probe_source: 'env' });
  expect(probeHarness({}, ['node', '/usr/lib/gemini.js'])).toMatchObject({
    ...{ harness: 'gemini', probe_source: 'parent_argv', probe_confidence: 0.75 },
  });
  const env = { DROVER_AGENT_PROVIDER: ' anthropic ', DROVER_AGENT_MODEL: 'opus' };
  expect(probeHarness(env, [])).toMatchObject({ provider: 'anthropic', model: 'opus', harness: 'agent-api' });
});

test('an advice is a typed error', () => {
  expect(caught(() => checkReservationId(''))).toBeInstanceOf(AppError);
});
