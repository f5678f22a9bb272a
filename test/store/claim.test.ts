import { describe, expect, test } from 'bun:test';
import { newSecret } from '../../src/model/id.ts';
import { nudgeSession, pauseSession, resumeSession, stopSession } from '../../src/store/control.ts';
import { listStateLog } from '../../src/store/event.ts';
import { claimNow, sendMail } from '../../src/store/mail.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { getSession } from '../../src/store/session.ts';
import {
  claimTurn,
  dispatchable,
  getTurn,
  nextDueAt,
  openTurns,
  type Places,
  releaseDue,
  takeLease,
  turnsInFlight,
  turnsToEnd,
} from '../../src/store/turn.ts';
import { listTurns } from '../../src/store/turn-list.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { otherProcesses, race } from './process.ts';

const NUDGE = {
  from_name: 'operator',
  from_id: null,
  type: 'nudge',
  priority: 'high',
  subject: 's',
  body: 'b',
  payload_json: null,
} as const;

async function claim(
  world: TestStore,
  session_id: string,
  input: { lease_fence?: number; max_in_flight?: number; now?: number } = {},
) {
  const lease_fence = input.lease_fence ?? (await takeLease(world.store, 'test', 0));
  const draft = {
    marker: newSecret(),
    dir_of: (turn: number) => `/turns/${turn}`,
    token_hash: newSecret(),
    max_in_flight: 10,
    now: world.clock.now(),
  };
  return claimTurn(world.store, { session_id, ...draft, ...input, lease_fence });
}

const nudge = (world: TestStore, session_id: string, body = 'b') =>
  nudgeSession(world.store, { session_id, draft: { ...NUDGE, body }, interrupt: false, now: world.clock.now() });

/** An idle session whose inbox is empty: its first turn asked a question nobody has answered. */
async function idleSession(world: TestStore): Promise<string> {
  const { id } = await seedSession(world);
  await endTurn(world, await takeTurn(world, id), { settle: { is_persistent: true } });
  return id;
}

describe('many processes claim one session: exactly one does (I2, I3, I4, O-56)', () => {
  test('queued and idle (E-017)', async () => {
    const world = await testStore();
    const lease_fence = await takeLease(world.store, 'test', 0);
    const racers = await otherProcesses(world.home, 8);
    const { id } = await seedSession(world);
    for (const turn of [1, 2, 3]) {
      const answers = await race(racers, () => ({ op: 'claim', session_id: id, lease_fence, max_in_flight: 10 }));
      const won = answers.filter((answer) => answer !== null) as { turn: number; mails: string[] }[];
      expect(won.map((each) => each.turn)).toEqual([turn]);
      expect(won[0]?.mails).toHaveLength(1);
      const open = await openTurns(world.store);
      expect(open.map((each) => [each.session.turn, each.turn.turn])).toEqual([[turn, turn]]);
      expect(open[0]?.session.state).toBe(turn === 1 ? 'booting' : 'working');
      const row = await getTurn(world.store, id, turn);
      const session = await getSession(world.store, id);
      if (row === null || session === null) throw new Error('gone');
      await endTurn(world, { session, turn: row, mails: [], notifications: [] }, { settle: { is_persistent: true } });
      await nudge(world, id, `again ${turn}`);
    }
    expect((await listMail(world.store, { to_id: id, limit: 9 })).map((mail) => mail.deliveries)).toEqual([1, 1, 1, 0]);
    const log = await listStateLog(world.store, id);
    expect(log.filter(({ event }) => event.startsWith('claim'))).toHaveLength(3);
  }, 60_000);

  test('slots hold while different sessions are claimed at once', async () => {
    const world = await testStore();
    const lease_fence = await takeLease(world.store, 'test', 0);
    const racers = await otherProcesses(world.home, 8);
    const rows = await Promise.all(racers.map(() => seedSession(world)));
    const answers = await race(racers, (i) => ({
      op: 'claim',
      session_id: rows[i]?.id ?? '',
      lease_fence,
      max_in_flight: 3,
    }));
    expect(answers.filter((answer) => answer !== null)).toHaveLength(3);
    expect(await openTurns(world.store)).toHaveLength(3);
  }, 60_000);
});

describe('a claim is refused without a trace', () => {
  test('when nothing is waiting (O-51)', async () => {
    const world = await testStore();
    const id = await idleSession(world);
    expect(await dispatchable(world.store, world.clock.now(), 10)).toEqual([]);
    expect(await claim(world, id)).toBeNull();
    expect(await getSession(world.store, id)).toMatchObject({ state: 'idle', turn: 1 });
    expect(await listTurns(world.store, id)).toHaveLength(1);
    await nudge(world, id);
    expect(await dispatchable(world.store, world.clock.now(), 10)).toEqual([id]);
    expect((await claim(world, id))?.turn.turn).toBe(2);
  });

  test('while the back-off runs; a nudge ends it', async () => {
    const world = await testStore();
    const { id } = await seedSession(world);
    await endTurn(world, await takeTurn(world, id), {
      ok: false,
      settle: { backoff_ms: 60_000, backoff_cap_ms: 60_000 },
    });
    const row = await getSession(world.store, id);
    expect(row).toMatchObject({ state: 'idle', attempt: 1 });
    const at = row?.next_turn_at ?? 0;
    expect(await nextDueAt(world.store)).toBe(at);
    expect(await nextDueAt(world.store, at)).toBeNull();
    expect(await claim(world, id, { now: at - 1 })).toBeNull();
    expect(await dispatchable(world.store, at - 1, 10)).toEqual([]);
    expect(await dispatchable(world.store, at, 10)).toEqual([id]);
    await nudge(world, id);
    expect((await claim(world, id, { now: at - 1 }))?.mails).toHaveLength(2);
  });

  test('when every slot is taken, also by a turn that is just being ended (CX-12)', async () => {
    const world = await testStore();
    const [first, second] = [await seedSession(world), await seedSession(world)];
    await takeTurn(world, first.id);
    expect(await claim(world, second.id, { max_in_flight: 1 })).toBeNull();
    await stopSession(world.store, { session_id: first.id, actor: 'cli', reason: 'operator', now: 1 });
    expect(await claim(world, second.id, { max_in_flight: 1 })).toBeNull();
    expect(await getSession(world.store, second.id)).toMatchObject({ state: 'queued', turn: 0 });
    expect(await claim(world, second.id, { max_in_flight: 2 })).not.toBeNull();
  });

  test('under a lease that somebody else has taken over, or that never was (O-56)', async () => {
    const world = await testStore();
    const { id } = await seedSession(world);
    const mine = await takeLease(world.store, 'me', 1);
    const theirs = await takeLease(world.store, 'them', 2);
    expect(theirs).toBe(mine + 1);
    for (const lease_fence of [mine, theirs + 1, 0]) expect(await claim(world, id, { lease_fence })).toBeNull();
    expect(await claim(world, id, { lease_fence: theirs })).not.toBeNull();
  });

  test('in every other state, and for an unknown session (E-017)', async () => {
    const world = await testStore();
    const { id } = await seedSession(world);
    await pauseSession(world.store, { session_id: id, reason: '', now: 1 });
    expect(await claim(world, id)).toBeNull();
    await stopSession(world.store, { session_id: id, actor: 'cli', reason: '', now: 1 });
    expect(await claim(world, id)).toBeNull();
    expect(await claim(world, 'agent-nobody')).toBeNull();
  });

  test('while an old turn is still open, whatever the state says (O-56)', async () => {
    const world = await testStore();
    const { id } = await seedSession(world);
    await takeTurn(world, id);
    await pauseSession(world.store, { session_id: id, reason: '', now: 1 });
    await world.store.write((tx) => tx.run('UPDATE sessions SET resume_at = 1 WHERE id = :id', { id }));
    expect(await releaseDue(world.store, 2, 'supervisor')).toBe(1);
    await nudge(world, id);
    expect(await claim(world, id)).toBeNull();
    expect((await openTurns(world.store)).map(({ turn }) => turn.turn)).toEqual([1]);
  });
});

test('a claim carries the mail by importance, the task first, and starts the turn clean', async () => {
  const world = await testStore();
  const { id, name } = await seedSession(world);
  const send = (subject: string, priority: 'low' | 'normal' | 'critical') =>
    sendMail(world.store, {
      draft: { ...NUDGE, type: 'status', subject, priority },
      to: [{ id, name }],
      sender: null,
      is_terminal: false,
      now: 1,
    });
  for (const [subject, priority] of [
    ['low', 'low'],
    ['one', 'normal'],
    ['two', 'normal'],
    ['now', 'critical'],
  ] as const)
    await send(subject, priority);
  const taken = await claim(world, id);
  expect(taken?.mails.map(({ subject }) => subject)).toEqual(['Your task', 'now', 'one', 'two', 'low']);
  expect(taken?.turn).toMatchObject({
    turn: 1,
    stdout_offset: 0,
    ended_at: null,
    outcome: null,
    native_session_before: null,
  });
  expect(taken?.session).toMatchObject({ state: 'booting', turn: 1 });
});

test('one prompt carries a bounded amount; the rest goes into the next (C-06)', async () => {
  const world = await testStore();
  const { id, name } = await seedSession(world);
  const body = 'x'.repeat(200_000);
  for (let i = 0; i < 5; i++) {
    await sendMail(world.store, {
      draft: { ...NUDGE, type: 'status', subject: `${i}`, body },
      to: [{ id, name }],
      sender: null,
      is_terminal: false,
      now: 1,
    });
  }
  await world.store.write((tx) => {
    for (let i = 0; i < 100; i++) {
      tx.run(
        `INSERT INTO notifications (parent_id, child_id, child_name, death_no, is_failed, body, created_at)
         VALUES (:id, :child, 'kid', 1, 0, :body, 1)`,
        { id, child: `kid-${i}`, body: 'y'.repeat(8_192) },
      );
    }
  });
  const first = await takeTurn(world, id);
  expect(first.mails.map(({ subject }) => subject)).toEqual(['Your task', '0', '1']);
  expect(first.notifications.map(({ child_id }) => child_id)).toEqual(Array.from({ length: 64 }, (_, i) => `kid-${i}`));
  await endTurn(world, first);
  const second = await takeTurn(world, id);
  expect(second.mails.map(({ subject }) => subject)).toEqual(['2', '3']);
  expect(second.notifications).toHaveLength(36);
});

test('mail that comes in the middle of a turn waits, or is taken by the agent itself, for that turn (C-06)', async () => {
  const world = await testStore();
  const { id } = await seedSession(world);
  const taken = await takeTurn(world, id);
  await nudge(world, id);
  expect(taken.mails).toHaveLength(1);
  const now = await claimNow(world.store, id);
  expect(now).toMatchObject({ turn: 1, mails: [{ type: 'nudge', delivered_turn: 1, read_at: null }] });
  expect((await claimNow(world.store, id)).mails).toEqual([]);
  await endTurn(world, taken, { ok: false });
  expect((await takeTurn(world, id)).mails.map(({ deliveries }) => deliveries)).toEqual([2, 2]);
  await stopSession(world.store, { session_id: id, actor: 'cli', reason: '', now: 1 });
});

describe('what is due', () => {
  test('idle sessions before queued ones, oldest first, within the limit', async () => {
    const world = await testStore();
    const idle = await idleSession(world);
    const queued = [await seedSession(world), await seedSession(world)].map(({ id }) => id);
    await nudge(world, idle);
    const now = world.clock.now();
    const all = await dispatchable(world.store, now, 10);
    expect(all[0]).toBe(idle);
    expect(all.slice(1).sort()).toEqual(queued.sort());
    expect(await dispatchable(world.store, now, 1)).toEqual([idle]);
  });

  test('of some repositories only, or of all but some, and a limit counts those alone', async () => {
    const world = await testStore();
    for (const repo_root of ['/farm', '/farm', '/barn', '/field']) {
      await seedSession(world, { repo_root });
      world.clock.advance(1);
    }
    const roots = async (limit: number, places?: Places) => {
      const ids = await dispatchable(world.store, world.clock.now(), limit, places);
      return Promise.all(ids.map(async (id) => (await getSession(world.store, id))?.repo_root));
    };
    expect(await roots(9)).toEqual(['/farm', '/farm', '/barn', '/field']);
    expect(await roots(1, { except: ['/farm'] })).toEqual(['/barn']);
    expect(await roots(9, { except: ['/farm', '/barn'] })).toEqual(['/field']);
    expect(await roots(9, { only: ['/barn', '/other'] })).toEqual(['/barn']);
    expect(await roots(9, { only: [] })).toEqual([]);
  });

  test('the turns in flight are those that are not over', async () => {
    const world = await testStore();
    const [one, two] = [await seedSession(world), await seedSession(world)];
    const taken = await takeTurn(world, one.id);
    await takeTurn(world, two.id);
    expect(await turnsInFlight(world.store)).toBe(2);
    await endTurn(world, taken);
    expect(await turnsInFlight(world.store)).toBe(1);
  });

  test('a parked session goes on at its instant, once, unless a person paused it in between', async () => {
    const world = await testStore();
    const park = async () => {
      const { id } = await seedSession(world);
      await pauseSession(world.store, { session_id: id, reason: '', now: 1 });
      await world.store.write((tx) =>
        tx.run("UPDATE sessions SET parked_reason = 'rate_limit', resume_at = 100 WHERE id = :id", { id }),
      );
      return id;
    };
    const [due, paused] = [await park(), await park()];
    expect(await nextDueAt(world.store)).toBe(100);
    expect(await releaseDue(world.store, 99, 'supervisor')).toBe(0);
    const second = await world.second();
    // The pause lands between the look and the write of `releaseDue`.
    const [released] = await Promise.all([
      releaseDue(world.store, 100, 'supervisor'),
      pauseSession(second, { session_id: paused, reason: 'wait', now: 2 }),
    ]);
    const after = await getSession(world.store, paused);
    expect(after).toMatchObject({ state: 'parked', parked_reason: 'operator', resume_at: null });
    expect(released).toBeLessThanOrEqual(2);
    expect(await getSession(world.store, due)).toMatchObject({ state: 'queued', parked_reason: null, resume_at: null });
    expect(await releaseDue(world.store, 100, 'supervisor')).toBe(0);
  });

  test('a turn that somebody wants ended is listed until it is settled', async () => {
    const world = await testStore();
    const { id } = await seedSession(world);
    const taken = await takeTurn(world, id);
    expect(await turnsToEnd(world.store)).toEqual([]);
    await stopSession(world.store, { session_id: id, actor: 'cli', reason: '', now: 1 });
    expect(await turnsToEnd(world.store)).toEqual([{ session_id: id, turn: 1, end_cause: 'stop' }]);
    const resume = { session_id: id, brief: NUDGE, interrupt_reason: 'x', always_brief: false, now: 2 };
    await expect(resumeSession(world.store, resume)).rejects.toMatchObject({ code: 'turn_still_ending' });
    await endTurn(world, taken);
    expect(await turnsToEnd(world.store)).toEqual([]);
    expect((await resumeSession(world.store, resume)).changed).toBe(true);
  });
});
