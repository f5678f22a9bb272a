import { describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ReservationRow } from '../../src/model/reservation.ts';
import { type Caller, hashToken } from '../../src/session/identity.ts';
import { capture } from '../../src/team/capture.ts';
import { ready } from '../../src/team/ready.ts';
import { heartbeat, namedReservation, noteQuery, release, remove } from '../../src/team/reservation.ts';
import { writeConfig } from '../support/drover.ts';
import { DAY_MS, putReservations, rowOf } from '../support/reservation.ts';
import { seedSession, takeTurn } from '../support/store.ts';
import { PERSON, refusal, state, type Work, work } from './work.ts';

type Verb = (work: Work, named?: { session_id: string; token: string | undefined }) => Promise<unknown>;

const VERBS: Record<string, Verb> = {
  heartbeat: ({ world, named: own }, named) => heartbeat(world.deps, PERSON, named ?? own),
  release: ({ world, named: own }, named) => release(world.deps, PERSON, named ?? own, 'complete'),
  capture: ({ world, repo, named: own }, named) => capture(world.deps, PERSON, named ?? own, { cwd: repo }),
  ready: ({ world, repo, named: own }, named) => ready(world.deps, PERSON, named ?? own, { cwd: repo }),
};
const each = test.each(Object.entries(VERBS));

describe('an unknown session', () => {
  each('%s: agent_session_not_found, and nothing is changed (HC-20)', async (_name, act) => {
    const all = await work();
    writeFileSync(join(all.repo, 'new'), 'x');
    const before = await state(all);
    const error = await refusal(act(all, { session_id: 'agent-nobody', token: undefined }));
    expect([error.code, error.exitCode]).toEqual(['agent_session_not_found', 4]);
    expect(await state(all)).toEqual(before);
  });

  test('an expired one is as unknown (H-28)', async () => {
    const all = await work();
    const past = { status: 'merged', completed_at: Date.now() - 8 * DAY_MS } as const;
    await putReservations(all.world.store, { session_id: 'agent-old', thread: 'old', ...past });
    const named = { session_id: 'agent-old', token: undefined };
    expect((await refusal(heartbeat(all.world.deps, PERSON, named))).code).toBe('agent_session_not_found');
    expect(await rowOf(all.world.store, 'agent-old')).toBeNull();
  });
});

describe('one that is not active', () => {
  const ended = async (status: 'complete' | 'abandoned' | 'merged') => {
    const all = await work();
    const to = { status, completed_at: all.world.clock.now() };
    await all.world.store.write((tx) =>
      tx.run('UPDATE reservations SET status = :status, completed_at = :completed_at', to),
    );
    writeFileSync(join(all.repo, 'new'), 'x');
    all.world.clock.advance(1_000);
    return all;
  };

  test('heartbeat: agent_session_inactive, and nothing at all is changed (HC-19, CX-06, I8)', async () => {
    for (const status of ['complete', 'abandoned', 'merged'] as const) {
      const all = await ended(status);
      const before = await state(all);
      const error = await refusal(heartbeat(all.world.deps, PERSON, all.named));
      expect([error.code, error.message]).toEqual([
        'agent_session_inactive',
        expect.stringContaining(`(status: ${status})`),
      ]);
      expect(error.details.preserved).toStartWith('no session heartbeat');
      expect(await state(all)).toEqual(before);
    }
  });

  test.each(['capture', 'ready'])(
    '%s: only the heartbeat is refreshed, as the advice says (HC-26, HC-27)',
    async (name) => {
      const all = await ended('complete');
      const stamps: (keyof ReservationRow)[] = ['heartbeat_at', 'last_progress_at'];
      const before = await state(all, stamps);
      const error = await refusal(VERBS[name]?.(all) as Promise<unknown>);
      expect(error.code).toBe('agent_session_inactive');
      expect(error.details.preserved).toStartWith('the session heartbeat was refreshed, but no capture');
      expect(await state(all, stamps)).toEqual(before);
      const row = await rowOf(all.world.store, all.session_id);
      expect(row?.heartbeat_at as number).toBeGreaterThan(row?.completed_at as number);
    },
  );
});

describe('signs of life and the end', () => {
  test('a heartbeat moves both stamps, and takes what the agent says of itself (HC-19, H-20)', async () => {
    const { world, named, session_id } = await work();
    world.clock.advance(5_000);
    const now = world.clock.now();
    const row = await heartbeat(world.deps, PERSON, named, {
      input_tokens: 42,
      attach_precedence: ['a', 'b'],
      probe_confidence: 0.75,
    });
    expect(row).toMatchObject({
      input_tokens: 42,
      attach_precedence_json: '["a","b"]',
      probe_confidence: 0.75,
      session_id,
    });
    for (const at of [row.heartbeat_at, row.last_progress_at]) expect(at as number).toBeGreaterThanOrEqual(now);
    expect(row.started_at).toBeLessThan(now);
  });

  test('released once; the same again changes nothing; another status is refused (HC-21, CX-05)', async () => {
    const all = await work();
    const { world, named } = all;
    const first = await release(world.deps, PERSON, named, 'complete');
    expect(first).toMatchObject({ changed: true, row: { status: 'complete', completed_at: expect.any(Number) } });
    world.clock.advance(9_000);
    expect(await release(world.deps, PERSON, named, 'complete')).toEqual({ changed: false, row: first.row });
    const before = await state(all);
    const error = await refusal(release(world.deps, PERSON, named, 'abandoned'));
    expect([error.code, error.exitCode]).toEqual(['illegal_transition', 3]);
    expect(await state(all)).toEqual(before);
  });

  test('a record goes without touching anything else; an active one only by force (H-01, H-25)', async () => {
    const all = await work();
    const { world, named } = all;
    const before = await state(all);
    expect((await refusal(remove(world.deps, PERSON, named, false))).code).toBe('reservation_active');
    expect(await state(all)).toEqual(before);
    await remove(world.deps, PERSON, named, true);
    await remove(world.deps, PERSON, named, false);
    expect(await state(all)).toEqual({ ...before, rows: [] });
  });

  test('what was looked up is noted while it is active (H-57, H-58)', async () => {
    const { world, session_id, named } = await work();
    const query = { path: 'src/auth/session.rs', scope: 'symbol:validate_token' };
    expect(await noteQuery(world.deps, session_id, query)).toBe(true);
    await release(world.deps, PERSON, named, 'complete');
    expect(await noteQuery(world.deps, session_id, query)).toBe(false);
    expect((await refusal(noteQuery(world.deps, '../x', query))).code).toBe('session_id_invalid');
  });
});

describe('tokens (CX-44)', () => {
  async function withToken(required: boolean) {
    const all = await work();
    if (required) writeConfig(all.world.deps.env.HOME as string, { reservations: { require_token: true } });
    const hash = hashToken('the-token');
    await all.world.store.write((tx) => tx.run('UPDATE reservations SET token_hash = :hash', { hash }));
    writeFileSync(join(all.repo, 'new'), 'x');
    return all;
  }
  const of = ({ session_id }: Work, token?: string) => ({ session_id, token });

  each('%s: a wrong one is refused, and nothing is changed', async (_name, act) => {
    const all = await withToken(false);
    const before = await state(all);
    expect((await refusal(act(all, of(all, 'another')))).code).toBe('reservation_token_invalid');
    // One that has no token fits none.
    await all.world.store.write((tx) => tx.run('UPDATE reservations SET token_hash = NULL'));
    expect((await refusal(act(all, of(all, '')))).code).toBe('reservation_token_invalid');
    await all.world.store.write((tx) =>
      tx.run('UPDATE reservations SET token_hash = :hash', { hash: hashToken('the-token') }),
    );
    expect(await state(all)).toEqual(before);
  });

  each('%s: none is refused where the settings demand one, and the right one will do', async (_name, act) => {
    const all = await withToken(true);
    const before = await state(all);
    expect((await refusal(act(all, of(all)))).code).toBe('reservation_token_required');
    expect(await state(all)).toEqual(before);
    await act(all, of(all, 'the-token'));
  });

  test('a session uses its own without, and those of others only with their token', async () => {
    const all = await withToken(false);
    const { world } = all;
    const { session } = await takeTurn(world, (await seedSession(world)).id);
    const caller = { name: session.name, session };
    expect((await refusal(heartbeat(world.deps, caller, of(all)))).code).toBe('reservation_token_required');
    expect(await heartbeat(world.deps, caller, of(all, 'the-token'))).toMatchObject({ status: 'active' });
    await world.store.write((tx) => tx.run('UPDATE reservations SET owner_session_id = :id', { id: session.id }));
    expect(await heartbeat(world.deps, caller, of(all))).toMatchObject({ status: 'active' });
  });
});

test('inside of a session its only reservation need not be named', async () => {
  const { world } = await work();
  const { session } = await takeTurn(world, (await seedSession(world)).id);
  const caller = { name: session.name, session };
  const missing = async (of: Caller) => (await refusal(namedReservation(world.deps, of, {}))).code;
  expect([await missing(PERSON), await missing(caller)]).toEqual(['session_id_missing', 'session_id_missing']);
  await putReservations(world.store, { session_id: 'agent-own', thread: 'a', owner_session_id: session.id });
  expect(await namedReservation(world.deps, caller, { token: 't' })).toEqual({ session_id: 'agent-own', token: 't' });
  await putReservations(world.store, { session_id: 'agent-two', thread: 'b', owner_session_id: session.id });
  const error = await refusal(namedReservation(world.deps, caller, {}));
  expect([error.code, error.details.hint]).toEqual(['session_id_missing', expect.stringContaining('agent-two (b)')]);
});
