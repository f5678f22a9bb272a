import { describe, expect, test } from 'bun:test';
import { newId } from '../../src/model/id.ts';
import { isTerminal, LIVE_STATES, SESSION_STATES } from '../../src/model/session.ts';
import { hashToken } from '../../src/session/identity.ts';
import { stopSession } from '../../src/store/control.ts';
import { listEvents, listStateLog } from '../../src/store/event.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { insertSession } from '../../src/store/new-session.ts';
import { findSession, getSession, listSessions, sessionByToken } from '../../src/store/session.ts';
import { seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const setTime = (world: TestStore, id: string, updated_at: number) =>
  world.store.write((tx) => tx.run('UPDATE sessions SET updated_at = :updated_at WHERE id = :id', { id, updated_at }));
const stop = (world: TestStore, id: string) =>
  stopSession(world.store, { session_id: id, actor: 'cli', reason: 'x', now: 1 });

describe('a new session', () => {
  test('is queued, with zero metrics, equal times, its task as first mail and its history begun (E-002, E-008)', async () => {
    const world = await testStore();
    const row = await seedSession(world, { task: 'mend the fence' });
    expect(row).toMatchObject({
      state: 'queued',
      turn: 0,
      attempt: 0,
      input_tokens: 0,
      tool_calls: 0,
      cost_micros: null,
    });
    expect(row).toMatchObject({ created_at: row.updated_at, ended_at: null, last_activity_at: null, token_hash: null });
    expect(await listMail(world.store, { to_id: row.id })).toEqual([
      expect.objectContaining({ type: 'task', body: 'mend the fence', delivered_turn: null }),
    ]);
    expect(
      (await listStateLog(world.store, row.id)).map(({ from_state, to_state, event }) => [from_state, to_state, event]),
    ).toEqual([[null, 'queued', 'sling']]);
    expect((await listEvents(world.store, { session_id: row.id })).map(({ type }) => type)).toEqual(['sling']);
  });

  test('whose id is taken gets another one; the old row is untouched (H-05)', async () => {
    const world = await testStore();
    const old = await seedSession(world, { name: 'old' });
    const fresh = newId('agent');
    const ids = [old.id, old.id, fresh];
    const made = await insertSession(world.store, {
      draft: { ...old, name: 'new' },
      brief: {
        from_name: 'o',
        from_id: null,
        type: 'task',
        priority: 'normal',
        subject: 's',
        body: 'b',
        payload_json: null,
      },
      is_name_chosen: true,
      limits: { max_children: 1 },
      new_id: () => ids.shift() ?? newId('agent'),
      now: 5,
    });
    expect(made.id).toBe(fresh);
    expect(await findSession(world.store, old.id, null)).toEqual(old);
    expect(await listMail(world.store, { to_id: old.id })).toHaveLength(1);
  });

  test('gets the next free name, unless a person chose it; ended ones give theirs back (O-03, O-74, CX-14)', async () => {
    const world = await testStore();
    const names = [];
    for (let i = 0; i < 3; i++) names.push((await seedSession(world)).name);
    expect(names).toEqual(['builder-mend-the-fence', 'builder-mend-the-fence-2', 'builder-mend-the-fence-3']);
    await expect(seedSession(world, { name: 'builder-mend-the-fence' })).rejects.toMatchObject({
      code: 'name_taken',
      kind: 'refused',
    });
    expect(await listSessions(world.store, {})).toHaveLength(3);
    await stop(world, (await findSession(world.store, 'builder-mend-the-fence-2', null)).id);
    expect((await seedSession(world)).name).toBe('builder-mend-the-fence-2');
  });

  test('needs a live parent with room', async () => {
    const world = await testStore();
    const parent = await seedSession(world, { name: 'chief' });
    const child = (limit: number) =>
      insertSession(world.store, {
        draft: { ...parent, id: newId('agent'), name: 'kid', parent_id: parent.id },
        brief: {
          from_name: 'o',
          from_id: null,
          type: 'task',
          priority: 'normal',
          subject: 's',
          body: 'b',
          payload_json: null,
        },
        is_name_chosen: false,
        limits: { max_children: limit },
        new_id: () => newId('agent'),
        now: 5,
      });
    const first = await child(1);
    await expect(child(1)).rejects.toMatchObject({ code: 'too_many_children' });
    await stop(world, first.id);
    await child(1);
    await stop(world, parent.id);
    await expect(child(9)).rejects.toMatchObject({ code: 'parent_ended' });
  });
});

describe('finding one (E-020, CX-46)', () => {
  test('latest is the one updated last, of this repository', async () => {
    const world = await testStore();
    const older = await seedSession(world, { repo_root: '/a' });
    const newer = await seedSession(world, { repo_root: '/a' });
    const other = await seedSession(world, { repo_root: '/b' });
    for (const [i, { id }] of [older, newer, other].entries()) await setTime(world, id, 1_000 + i);
    expect((await findSession(world.store, 'latest', '/a')).id).toBe(newer.id);
    expect((await findSession(world.store, 'latest', null)).id).toBe(other.id);
    await setTime(world, older.id, 9_000);
    expect((await findSession(world.store, 'latest', '/a')).id).toBe(older.id);
    await expect(findSession(world.store, 'latest', '/c')).rejects.toMatchObject({ code: 'session_not_found' });
  });

  test('a name is one of this repository; another one that has it is pointed at', async () => {
    const world = await testStore();
    const [here, there] = [await seedSession(world, { repo_root: '/a', name: 's1' }), '/b'];
    await stop(world, here.id);
    const other = await seedSession(world, { repo_root: there, name: 's1' });
    expect((await findSession(world.store, 's1', '/a')).id).toBe(here.id);
    expect((await findSession(world.store, 's1', there)).id).toBe(other.id);
    expect((await findSession(world.store, 's1', null)).id).toBe(other.id);
    expect((await findSession(world.store, other.id.slice(6, 16), '/a')).id).toBe(other.id);
    expect((await findSession(world.store, 's1', '/c', { desks: ['/desk', '/b'] })).id).toBe(other.id);
    const error = await findSession(world.store, 's1', '/c').catch((reason) => reason);
    expect([error.code, error.details.hint]).toEqual(['session_not_found', expect.stringContaining(other.id)]);
  });

  test('of several that ended under one name the newest is read, and none is changed; a live one is who is meant', async () => {
    const world = await testStore();
    const old = await seedSession(world, { name: 's1' });
    await stop(world, old.id);
    expect((await findSession(world.store, 's1', null, { ended: 'only' })).id).toBe(old.id);
    const young = await seedSession(world, { name: 's1' });
    await stop(world, young.id);
    for (const [i, { id }] of [old, young].entries()) await setTime(world, id, 1_000 + i);
    expect((await findSession(world.store, 's1', null)).id).toBe(young.id);
    const error = await findSession(world.store, 's1', null, { ended: 'only' }).catch((reason) => reason);
    expect([error.code, error.message]).toEqual(['session_ambiguous', 's1 is the name of 2 sessions that ended.']);
    expect(error.details.data.candidates.map(({ id }: { id: string }) => id)).toEqual([young.id, old.id]);
    const live = await seedSession(world, { name: 's1' });
    expect((await findSession(world.store, 's1', null, { ended: 'only' })).id).toBe(live.id);
    await stop(world, live.id);
    for (const recovered_from of [old.id, young.id, live.id])
      await stop(world, (await seedSession(world, { name: recovered_from.slice(6, 12), recovered_from })).id);
    const heir = await seedSession(world, { name: 's1', recovered_from: live.id });
    await stop(world, heir.id);
    expect((await findSession(world.store, 's1', null, { ended: 'only' })).id).toBe(heir.id);
  });

  test('an unknown one is not found, by its own words', async () => {
    const world = await testStore();
    for (const wanted of ['nobody', 'agent-nobody', '', 'x', "' OR 1=1 --", '%', 'agent']) {
      const found = findSession(world.store, wanted, null);
      await expect(found).rejects.toMatchObject({
        code: 'session_not_found',
        kind: 'not_found',
        message: `Session not found: ${wanted}`,
      });
    }
  });

  test('by id, name, and the beginning of an id, which must be the only one', async () => {
    const world = await testStore();
    const one = await seedSession(world, { id: 'agent-abcdaaaaaaaaaaaaaaaa', name: 'one' });
    const two = await seedSession(world, { id: 'agent-abcdbbbbbbbbbbbbbbbb', name: 'two' });
    const find = async (wanted: string) => (await findSession(world.store, wanted, null)).id;
    for (const wanted of [one.id, 'one', 'abcda', 'agent-abcda', 'agent-abcdaaaaaaaaaa'])
      expect(await find(wanted)).toBe(one.id);
    expect(await find('two')).toBe(two.id);
    const ambiguous = findSession(world.store, 'abcd', null);
    await expect(ambiguous).rejects.toMatchObject({ code: 'session_ambiguous', kind: 'usage' });
    await expect(ambiguous).rejects.toThrow('beginning of 2');
    await expect(findSession(world.store, 'abc', null)).rejects.toMatchObject({ code: 'session_not_found' });
  });

  test('of one name the living comes first, then the newest', async () => {
    const world = await testStore();
    const ids = [];
    for (const at of [10, 30, 20]) {
      const { id } = await seedSession(world, { name: 'twin' });
      ids.push(id);
      await stop(world, id);
      await setTime(world, id, at);
    }
    expect((await findSession(world.store, 'twin', null)).id).toBe(ids[1] ?? '');
    const live = await seedSession(world, { name: 'twin' });
    await setTime(world, live.id, 1);
    expect((await findSession(world.store, 'twin', null)).id).toBe(live.id);
  });
});

test('all sessions, or those of a place, state, parent or run, the newest first (E-019, O-16)', async () => {
  const world = await testStore();
  const parent = await seedSession(world, { repo_root: '/a', run_id: 'run-x' });
  const child = await seedSession(world, { repo_root: '/b', parent_id: parent.id });
  const gone = await seedSession(world, { repo_root: '/a' });
  for (const [i, { id }] of [parent, child, gone].entries()) {
    await world.store.write((tx) => tx.run('UPDATE sessions SET created_at = :i WHERE id = :id', { i, id }));
  }
  await stop(world, gone.id);
  const ids = async (filter: Parameters<typeof listSessions>[1]) =>
    (await listSessions(world.store, filter)).map(({ id }) => id);
  expect(await ids({})).toEqual([gone.id, child.id, parent.id]);
  expect(await ids({ limit: 1 })).toEqual([gone.id]);
  expect(await ids({ repo_root: '/a' })).toEqual([gone.id, parent.id]);
  expect(await ids({ repo_root: '/a', states: LIVE_STATES })).toEqual([parent.id]);
  expect(await ids({ states: ['stopped'] })).toEqual([gone.id]);
  expect(await ids({ states: ['stopped', 'queued'], repo_root: '/a' })).toEqual([gone.id, parent.id]);
  expect(await ids({ parent_id: parent.id })).toEqual([child.id]);
  expect(await ids({ run_id: 'run-x' })).toEqual([parent.id]);
});

test('reads: nobody is null, the active ones are all that have not ended (O-16)', async () => {
  const world = await testStore();
  expect(await getSession(world.store, 'agent-nobody')).toBeNull();
  const ids: Record<string, string> = {};
  for (const state of SESSION_STATES) {
    const { id } = await seedSession(world);
    ids[state] = id;
    await world.store.write((tx) =>
      tx.run('UPDATE sessions SET state = :state, ended_at = :ended_at, parked_reason = :why WHERE id = :id', {
        ...{ id, state, ended_at: isTerminal(state) ? 1 : null, why: state === 'parked' ? 'gate' : null },
      }),
    );
  }
  const active = (await listSessions(world.store, { states: LIVE_STATES })).map(({ state }) => state).sort();
  expect(active).toEqual(['booting', 'idle', 'parked', 'queued', 'stalled', 'working']);
  expect(await listSessions(world.store, {})).toHaveLength(SESSION_STATES.length);
  expect((await getSession(world.store, ids.zombie ?? ''))?.state).toBe('zombie');
});

test('a token names its session while it lives', async () => {
  const world = await testStore();
  const { id } = await seedSession(world);
  const { token } = await takeTurn(world, id);
  expect((await sessionByToken(world.store, hashToken(token)))?.id).toBe(id);
  expect(await sessionByToken(world.store, token)).toBeNull();
  await stop(world, id);
  expect(await sessionByToken(world.store, hashToken(token))).toBeNull();
});
