import { expect, test } from 'bun:test';
import fc from 'fast-check';
import type { MailRow, NotificationRow } from '../../src/model/mail.ts';
import type { PoolRow } from '../../src/model/pool.ts';
import { isInFlight, isTerminal, PREDECESSORS, type SessionRow, type SessionState } from '../../src/model/session.ts';
import { isSuccess, type TurnRow } from '../../src/model/turn.ts';
import type { StateLogRow } from '../../src/store/event.ts';
import { type TestStore, testStore } from '../support/store.ts';
import { ENDINGS, Herd, type Step } from './herd.ts';

const who = fc.nat(5);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('sling' as const),
      who,
      has_parent: fc.boolean(),
      is_persistent: fc.nat(3).map((n) => n === 0),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('claim' as const), who }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      who,
      ending: fc.constantFrom('ok' as const, 'ok' as const, ...ENDINGS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('mail' as const),
      who,
      whom: who,
      type: fc.constantFrom('status' as const, 'worker_done' as const, 'question' as const, 'task_handoff' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('nudge' as const), who, interrupt: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('usage' as const),
      who,
      mode: fc.constantFrom('add' as const, 'turn' as const, 'thread' as const),
      tokens: fc.nat(100),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'event' as const,
        'take' as const,
        'stop' as const,
        'pause' as const,
        'resume' as const,
        'stall' as const,
        'bury' as const,
        'abort' as const,
        'release' as const,
      ),
      who,
    }),
  },
);

interface Snapshot {
  sessions: SessionRow[];
  turns: TurnRow[];
  mail: MailRow[];
  notifications: NotificationRow[];
  log: StateLogRow[];
  pools: PoolRow[];
}

const snapshot = (world: TestStore): Promise<Snapshot> =>
  world.store.read((tx) => ({
    sessions: tx.all<SessionRow>('SELECT * FROM sessions'),
    turns: tx.all<TurnRow>('SELECT * FROM turns'),
    mail: tx.all<MailRow>('SELECT * FROM mail ORDER BY seq'),
    notifications: tx.all<NotificationRow>('SELECT * FROM notifications'),
    log: tx.all<StateLogRow>('SELECT * FROM state_log ORDER BY seq'),
    pools: tx.all<PoolRow>('SELECT * FROM pools'),
  }));

/** I1: every step was a legal one out of the state the step before had left. */
function checkChain({ sessions, log }: Snapshot): void {
  for (const { id, state } of sessions) {
    let at: string | null = null;
    for (const entry of log.filter(({ session_id }) => session_id === id)) {
      expect(entry.from_state).toBe(at);
      if (at !== null) expect(PREDECESSORS[entry.to_state as SessionState]).toContain(at as SessionState);
      at = entry.to_state;
    }
    expect(state).toBe(at as SessionState);
  }
}

/** I2, I3, I19: in flight means one open turn, the newest; ended means none, or one that is just being ended. */
function checkTurns({ sessions, turns }: Snapshot): void {
  for (const row of sessions) {
    const own = turns.filter(({ session_id }) => session_id === row.id);
    const open = own.filter(({ ended_at }) => ended_at === null);
    expect(own.map(({ turn }) => turn).sort((a, b) => a - b)).toEqual(own.map((_, i) => i + 1));
    expect(row.turn).toBe(own.length);
    expect(open.length).toBeLessThanOrEqual(1);
    if (isInFlight(row.state)) expect(open.map(({ turn }) => turn)).toEqual([row.turn]);
    else for (const { end_cause } of open) expect(end_cause).not.toBeNull();
    if (isTerminal(row.state))
      expect([row.token_hash, row.stalled_since, row.escalation_level, row.resume_at]).toEqual([null, null, 0, null]);
    const sum = (key: 'input_tokens' | 'output_tokens') => own.reduce((total, turn) => total + turn[key], 0);
    expect([row.input_tokens, row.output_tokens]).toEqual([sum('input_tokens'), sum('output_tokens')]);
  }
}

/** I4, I5: a mail waits, or is reserved by an open turn, or was confirmed by one clean turn. None is lost. */
function checkMail({ turns, mail }: Snapshot, herd: Herd): void {
  expect(
    mail
      .filter(({ to_id }) => to_id !== null)
      .map(({ id }) => id)
      .sort(),
  ).toEqual([...herd.confirmed.keys()].sort());
  for (const each of mail.filter(({ to_id }) => to_id !== null)) {
    const turn = turns.find((row) => row.session_id === each.to_id && row.turn === each.delivered_turn) ?? null;
    expect(herd.confirmed.get(each.id)).toBe(each.read_at === null ? 0 : 1);
    if (each.delivered_turn === null) continue;
    if (each.read_at === null) expect(turn).toMatchObject({ ended_at: null });
    else expect(turn !== null && (isSuccess(turn.outcome ?? 'lost') || turn.terminal_mail > 0)).toBe(true);
  }
}

/** I15: one notification per death, and one `worker_died` per death that was one. */
function checkDeaths({ sessions, notifications, mail }: Snapshot, herd: Herd): void {
  for (const { id, death_no, parent_id } of sessions) {
    const told = notifications.filter(({ child_id }) => child_id === id).map((note) => note.death_no);
    expect(new Set(told).size).toBe(told.length);
    for (const number of told) expect(number).toBeLessThanOrEqual(death_no);
    if (parent_id === null) expect(told).toEqual([]);
    expect(mail.filter(({ type, from_id }) => type === 'worker_died' && from_id === id)).toHaveLength(
      herd.deaths.get(id) ?? 0,
    );
  }
}

/** Nothing waits unseen (ARCHITECTURE §1): whoever lives has a process, input, somebody to wait for, or a way back. */
function checkAwake({ sessions, turns, mail, notifications, pools }: Snapshot, herd: Herd): void {
  for (const row of sessions) {
    const isWaiting = (each: { delivered_turn: number | null }) => each.delivered_turn === null;
    const input =
      mail.some((each) => each.to_id === row.id && isWaiting(each)) ||
      notifications.some((each) => each.parent_id === row.id && isWaiting(each));
    const children = sessions.some(({ parent_id, ended_at }) => parent_id === row.id && ended_at === null);
    const asked = mail.some(
      (each) =>
        each.type === 'question' &&
        each.from_id === row.id &&
        sessions.some(({ id, ended_at }) => id === each.to_id && ended_at === null),
    );
    if (row.state === 'queued') expect(input).toBe(true);
    if (row.state === 'idle') expect(input || children || asked || herd.persistent.has(row.id)).toBe(true);
    const pool = pools.find(({ name }) => name === row.parked_pool);
    if (row.state === 'parked')
      expect([row.resume_at !== null, row.parked_reason === 'operator', pool !== undefined]).toContain(true);
    if (row.state === 'parked' && pool !== undefined) expect(input && row.resume_at === null).toBe(true);
    else expect(row.parked_pool).toBeNull();
    if (row.state === 'queued' || row.state === 'idle')
      expect(turns.some(({ session_id, ended_at }) => session_id === row.id && ended_at === null)).toBe(false);
  }
}

/** Of a blocked pool one session is at work at the most, and everybody hears of a refused login once. */
function checkPools({ sessions, turns, pools, mail }: Snapshot): void {
  for (const { name, state, blocked_at, reason } of pools) {
    const own = new Set(sessions.filter(({ pool }) => pool === name).map(({ id }) => id));
    const begun = turns.filter(
      (turn) =>
        own.has(turn.session_id) &&
        turn.ended_at === null &&
        turn.end_cause === null &&
        turn.started_at > (blocked_at ?? 0),
    );
    if (blocked_at !== null) expect(begun.length).toBeLessThanOrEqual(state === 'probing' ? 1 : 0);
    const told = mail.filter(({ to_id }) => to_id === null).length;
    if (reason === 'auth') expect(told).toBeGreaterThan(0);
  }
}

async function wipe(world: TestStore): Promise<void> {
  await world.store.write((tx) => {
    for (const table of ['turns', 'mail', 'notifications', 'event_batches', 'state_log', 'pools'])
      tx.run(`DELETE FROM ${table}`);
    tx.run('UPDATE sessions SET parent_id = NULL');
    tx.run('DELETE FROM sessions');
  });
}

test('after any history of steps the invariants hold (I1–I5, I15, I18, I19)', async () => {
  const world = await testStore();
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (steps) => {
      await wipe(world);
      const herd = new Herd(world);
      await herd.step({ do: 'sling', who: 0, has_parent: false, is_persistent: false });
      for (const each of steps) {
        await herd.step(each);
        const now = await snapshot(world);
        checkChain(now);
        checkTurns(now);
        checkMail(now, herd);
        checkDeaths(now, herd);
        checkAwake(now, herd);
        checkPools(now);
        for (const { event, to_state } of now.log) seen.add(`${event} ${to_state}`);
      }
    }),
    { numRuns: 200 },
  );
  // A history that never got anywhere would prove nothing.
  const events = [
    'claim_first',
    'claim_next',
    'first_event',
    'stall',
    'progress',
    'rest',
    'complete',
    'fail',
    'park',
    'bury',
    'pause',
    'stop',
    'resume',
    'release',
    'clean',
  ];
  expect(events.filter((event) => ![...seen].some((each) => each.startsWith(`${event} `)))).toEqual([]);
}, 60_000);
