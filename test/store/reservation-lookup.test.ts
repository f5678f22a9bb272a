import { describe, expect, test } from 'bun:test';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { ReservationRow } from '../../src/model/reservation.ts';
import { chainNode } from '../../src/model/reservation-output.ts';
import { actorChain, listReservations } from '../../src/store/reservation-list.ts';
import { type Lookup, lookUpReservations } from '../../src/team/lookup.ts';
import { DAY_MS, putReservations, REPO } from '../support/reservation.ts';
import { testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const NOW = Date.now();

async function found(rows: Partial<ReservationRow>[], query: Partial<Lookup>): Promise<string[]> {
  const { store } = await testStore();
  await putReservations(store, ...rows.map((row, i) => ({ thread: `thread-${i}`, started_at: NOW, ...row })));
  const { rows: hits } = await lookUpReservations(store, { repo_root: REPO, active_only: true, ...query }, NOW);
  return hits.map((row) => row.session_id);
}

const ended = { status: 'complete', completed_at: NOW } as const;

describe('looking one up', () => {
  test('all, newest first, and the id between equals (H-26, H-51)', async () => {
    const rows = [
      { session_id: 'b', started_at: NOW - 1 },
      { session_id: 'c', started_at: NOW },
      { session_id: 'a', started_at: NOW - 1 },
      { session_id: 'd', ...ended },
    ];
    expect(await found(rows, {})).toEqual(['c', 'a', 'b']);
    expect(await found(rows, { active_only: false })).toEqual(['c', 'd', 'a', 'b']);
    expect(await found(rows, { thread: 'thread-2' })).toEqual(['a']);
    expect(await found(rows, { repo_root: '/other' })).toEqual([]);
    expect(await found(rows, { repo_root: null })).toHaveLength(3);
  });

  test('★ by checkout, with symbolic links resolved on both sides (H-46)', async () => {
    const dir = tempDir();
    const other = tempDir();
    const [link, back] = [join(tempDir(), 'link'), join(tempDir(), 'back')];
    symlinkSync(dir, link);
    symlinkSync(dir, back);
    const rows = [
      { session_id: 'agent-match', path: dir },
      { session_id: 'agent-other', path: other },
      { session_id: 'agent-nowhere', path: null },
      { session_id: 'agent-past', path: dir, ...ended },
    ];
    expect(await found(rows, { path: dir })).toEqual(['agent-match']);
    expect(await found(rows, { path: `${link}/.` })).toEqual(['agent-match']);
    expect(await found([{ session_id: 'agent-linked', path: back }], { path: link })).toEqual(['agent-linked']);
    // What cannot be followed is compared as it is written.
    expect(await found([{ session_id: 'gone', path: '/no/such/place' }], { path: '/no/such/place' })).toEqual(['gone']);
    expect(await found(rows, { path: '/no/such/place' })).toEqual([]);
  });

  test('by the session of drover that owns it, active only (H-47)', async () => {
    const rows = [
      { session_id: 'one', owner_session_id: 'agent-1' },
      { session_id: 'past', owner_session_id: 'agent-1', ...ended },
      { session_id: 'two', owner_session_id: 'agent-12' },
    ];
    expect(await found(rows, { owner_session_id: 'agent-1' })).toEqual(['one']);
  });

  test('★ by client instance (H-48)', async () => {
    const rows = [
      { session_id: 'agent-client', client_instance_id: 'client-a' },
      { session_id: 'agent-other', client_instance_id: 'client-b' },
      { session_id: 'agent-past', client_instance_id: 'client-a', ...ended },
    ];
    expect(await found(rows, { client_instance_id: 'client-a' })).toEqual(['agent-client']);
  });

  test('★ by the key of the actor (H-49)', async () => {
    const rows = [
      { session_id: 'agent-native', native_actor_key: 'codex:thread:thr_123' },
      { session_id: 'agent-other', native_actor_key: 'codex:thread:thr_1' },
    ];
    expect(await found(rows, { native_actor_key: 'codex:thread:thr_123' })).toEqual(['agent-native']);
  });

  test('by the key of the instance at a checkout: both have to be right (H-50)', async () => {
    const [here, there] = [tempDir(), tempDir()];
    const rows = [
      { session_id: 'right', native_instance_key: 'k', path: here },
      { session_id: 'elsewhere', native_instance_key: 'k', path: there },
      { session_id: 'other', native_instance_key: 'l', path: here },
      { session_id: 'past', native_instance_key: 'k', path: here, ...ended },
    ];
    expect(await found(rows, { native_instance_key: 'k', path: here })).toEqual(['right']);
  });

  test('of several the one that started last comes first (H-51)', async () => {
    const rows = [
      { session_id: 'first', client_instance_id: 'c', started_at: NOW - 5 },
      { session_id: 'last', client_instance_id: 'c', started_at: NOW },
    ];
    expect(await found(rows, { client_instance_id: 'c' })).toEqual(['last', 'first']);
  });

  test('without a database there is nothing, and nothing is made (H-09): an empty one answers as well', async () => {
    const { store } = await testStore();
    expect(await listReservations(store, { repo_root: REPO, active_only: false }, NOW)).toEqual({
      ...{ rows: [], corrupt: [], expired: 0 },
    });
    expect(await actorChain(store, 'agent-x', NOW)).toEqual([]);
  });
});

async function chain(of: string, rows: Partial<ReservationRow>[]) {
  const { store } = await testStore();
  await putReservations(store, ...rows.map((row, i) => ({ thread: `t${i}`, started_at: NOW, ...row })));
  return actorChain(store, of, NOW);
}

describe('who started whom', () => {
  const actor = (session_id: string, key: string, parent: string | null, more: Partial<ReservationRow> = {}) => ({
    ...{ session_id, native_actor_key: key, native_parent_actor_key: parent, ...more },
  });
  const idsOf = (rows: readonly ReservationRow[]) => rows.map((row) => row.session_id);

  test('★ root to leaf by the keys, with eight fields each (H-52, H-53)', async () => {
    const found = await chain('agent-child', [
      actor('agent-root', 'human:foo', null),
      actor('agent-parent', 'codex:thread:parent', 'human:foo'),
      actor('agent-child', 'codex:thread:child', 'codex:thread:parent', {
        model: 'm',
        provider: 'p',
        harness: 'codex',
      }),
    ]);
    expect(idsOf(found)).toEqual(['agent-root', 'agent-parent', 'agent-child']);
    expect(found[2]?.native_parent_actor_key).toBe('codex:thread:parent');
    expect(chainNode(found[2] as ReservationRow)).toEqual({
      ...{ session_id: 'agent-child', native_actor_key: 'codex:thread:child' },
      ...{ native_parent_actor_key: 'codex:thread:parent', thread: 't2', status: 'active' },
      ...{ provider: 'p', model: 'm', harness: 'codex' },
    });
  });

  test('★ a circle ends where it closes (H-54)', async () => {
    const found = await chain('agent-a', [actor('agent-a', 'a', 'b'), actor('agent-b', 'b', 'a')]);
    expect([found.length, found.at(-1)?.session_id]).toEqual([2, 'agent-a']);
    // Also when the start has a namesake that would be preferred to it.
    const twins = [actor('agent-a', 'a', 'b', ended), actor('agent-a2', 'a', 'b'), actor('agent-b', 'b', 'a')];
    expect(idsOf(await chain('agent-a', twins))).toEqual(['agent-b', 'agent-a']);
  });

  test('nobody, a parent that nobody is, and its own parent (H-55)', async () => {
    expect(await chain('nobody', [actor('a', 'k', null)])).toEqual([]);
    expect(idsOf(await chain('a', [actor('a', 'k', 'gone')]))).toEqual(['a']);
    expect(idsOf(await chain('a', [actor('a', 'k', 'k')]))).toEqual(['a']);
    expect(idsOf(await chain('a', [actor('a', null as never, null)]))).toEqual(['a']);
  });

  test('ancestors may have ended, but not long ago; of several the active, then the newest (H-56, CX-43)', async () => {
    const parent = (session_id: string, more: Partial<ReservationRow>) => actor(session_id, 'p', null, more);
    const leaf = actor('leaf', 'l', 'p');
    expect(idsOf(await chain('leaf', [leaf, parent('past', ended)]))).toEqual(['past', 'leaf']);
    const old = { status: 'complete', completed_at: NOW - 8 * DAY_MS } as const;
    expect(idsOf(await chain('leaf', [leaf, parent('old', old)]))).toEqual(['leaf']);
    const several = [
      parent('newer', { ...ended, started_at: NOW }),
      parent('active', { started_at: NOW - 9 }),
      parent('older', { started_at: NOW - 10, ...ended }),
    ];
    expect(idsOf(await chain('leaf', [leaf, ...several]))).toEqual(['active', 'leaf']);
    const past = [parent('newer', ended), parent('older', { ...ended, started_at: NOW - 9 })];
    expect(idsOf(await chain('leaf', [leaf, ...past]))).toEqual(['newer', 'leaf']);
  });

  test('another repository has its own actors', async () => {
    expect(
      idsOf(await chain('leaf', [actor('leaf', 'l', 'p'), actor('far', 'p', null, { repo_root: '/other' })])),
    ).toEqual(['leaf']);
  });
});
