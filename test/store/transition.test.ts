import { describe, expect, test } from 'bun:test';
import {
  isInFlight,
  isTerminal,
  type PARKED_REASONS,
  SESSION_EVENTS,
  SESSION_STATES,
  type SessionEvent,
  type SessionRow,
  type SessionState,
} from '../../src/model/session.ts';
import { listStateLog } from '../../src/store/event.ts';
import { getSession } from '../../src/store/session.ts';
import { type TransitionInput, transition } from '../../src/store/transition.ts';
import { endTurn, feedTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { otherProcesses, race } from './process.ts';

const EVENTS = Object.keys(SESSION_EVENTS) as SessionEvent[];
const TURN = 7;
/** An interruption and the turn after it are steps of the watchdog's ladder: only these and an end leave it (O-35). */
const LEAVES_LADDER: SessionEvent[] = ['progress', 'resume', 'release'];
const OFF_LADDER = { escalation_level: 0, escalated_at: null, escalation_cause: null };

/** A session put into `state` by hand, with a value in every column that some transition clears. */
async function inState(world: TestStore, state: SessionState): Promise<SessionRow> {
  const { id } = await seedSession(world);
  const ended_at = isTerminal(state) ? 5 : null;
  await world.store.write((tx) =>
    tx.run(
      `UPDATE sessions SET state = :state, turn = ${TURN}, ended_at = :ended_at, end_reason = :end_reason, parked_reason = :parked,
         parked_evidence = :parked, resume_at = 6, stalled_since = 7, escalation_level = 2, escalated_at = 6,
         escalation_cause = 'silent', token_hash = :id, next_turn_at = 8,
         updated_at = 9 WHERE id = :id`,
      { id, state, ended_at, end_reason: ended_at && 'before', parked: state === 'parked' ? 'gate' : null },
    ),
  );
  return read(world, id);
}

async function read(world: TestStore, id: string): Promise<SessionRow> {
  const row = await getSession(world.store, id);
  if (row === null) throw new Error(`no session ${id}`);
  return row;
}

function inputFor(session_id: string, event: SessionEvent, fence = TURN): TransitionInput {
  const isPark = SESSION_EVENTS[event].to === 'parked';
  const set = isPark ? { set: { parked_reason: 'budget' as const, parked_evidence: '{}', resume_at: 77 } } : {};
  return { session_id, event, actor: 'watchdog', now: 1_000, reason: 'because', fence, ...set };
}

const apply = (world: TestStore, input: TransitionInput) => world.store.write((tx) => transition(tx, input));

/** The columns a transition may touch, as they must be afterwards. */
function expectedAfter(before: SessionRow, event: SessionEvent): Partial<SessionRow> {
  const { to } = SESSION_EVENTS[event];
  const isParked = to === 'parked';
  const isEnd = isTerminal(to);
  return {
    ...before,
    state: to,
    updated_at: 1_000,
    ended_at: isEnd ? 1_000 : null,
    end_reason: isEnd ? 'because' : null,
    token_hash: isInFlight(to) ? before.token_hash : null,
    next_turn_at: isEnd ? null : before.next_turn_at,
    parked_reason: isParked ? 'budget' : null,
    parked_evidence: isParked ? '{}' : null,
    resume_at: isParked ? 77 : null,
    stalled_since: to === 'stalled' ? 1_000 : null,
    ...(isEnd || LEAVES_LADDER.includes(event) ? OFF_LADDER : {}),
  };
}

describe('every state × every event (C-05, O-05…O-10, I1)', () => {
  for (const event of EVENTS) {
    test(event, async () => {
      const world = await testStore();
      for (const state of SESSION_STATES) {
        const before = await inState(world, state);
        const result = await apply(world, inputFor(before.id, event));
        const after = await read(world, before.id);
        const log = (await listStateLog(world.store, before.id)).slice(1);
        if ((SESSION_EVENTS[event].from as readonly SessionState[]).includes(state)) {
          expect(result).toEqual({ ok: true, prev: state, row: after });
          expect(after).toEqual(expectedAfter(before, event) as SessionRow);
          const entry = {
            from_state: state,
            to_state: after.state,
            event,
            actor: 'watchdog',
            reason: 'because',
            turn: TURN,
            at: 1_000,
          };
          expect(log).toEqual([expect.objectContaining(entry)]);
        } else {
          expect(result).toEqual({ ok: false, reason: 'illegal_transition', prev: state });
          expect(after).toEqual(before);
          expect(log).toEqual([]);
        }
      }
    });
  }
});

test('an unknown session is not found, and nothing is written (O-09)', async () => {
  const world = await testStore();
  for (const event of EVENTS) {
    expect(await apply(world, inputFor('agent-nobody', event))).toEqual({ ok: false, reason: 'not_found', prev: null });
  }
  expect(await listStateLog(world.store, 'agent-nobody')).toEqual([]);
});

test('a verdict about turn 3 does not end turn 4, nor turn 2 or no turn at all (the fence)', async () => {
  const world = await testStore();
  for (const event of EVENTS.filter((each) => SESSION_EVENTS[each].fenced)) {
    for (const fence of [TURN - 1, TURN + 1, undefined]) {
      const [state] = SESSION_EVENTS[event].from;
      const before = await inState(world, state);
      const { fence: _mine, ...input } = inputFor(before.id, event);
      const result = await apply(world, fence === undefined ? input : { ...input, fence });
      expect(result).toEqual({ ok: false, reason: 'illegal_transition', prev: state });
      expect(await read(world, before.id)).toEqual(before);
    }
  }
});

test('a late settle, stall or event of turn 1 leaves turn 2 alone', async () => {
  const world = await testStore();
  const { id } = await seedSession(world);
  const first = await takeTurn(world, id);
  await endTurn(world, first, { ok: false });
  const second = await takeTurn(world, id);
  await feedTurn(world, second, [{ type: 'text', text: 'hello' }]);
  const before = await read(world, id);
  expect(before).toMatchObject({ state: 'working', turn: 2 });
  await expect(endTurn(world, first)).rejects.toThrow('settled before');
  await feedTurn(world, first, [{ type: 'text', text: 'late' }]);
  for (const event of ['stall', 'rest', 'bury', 'complete', 'fail', 'park'] as const) {
    expect((await apply(world, inputFor(id, event, 1))).ok).toBe(false);
  }
  expect(await read(world, id)).toEqual(before);
});

test('how long and how badly it is stalled is each session’s own, and forgotten when it goes on (O-35)', async () => {
  const world = await testStore();
  const [one, other] = [await inState(world, 'working'), await inState(world, 'stalled')];
  await apply(world, inputFor(one.id, 'stall'));
  expect(await read(world, one.id)).toMatchObject({ stalled_since: 1_000, escalation_level: 2 });
  expect(await read(world, other.id)).toMatchObject({ stalled_since: 7, escalation_level: 2 });
  await apply(world, inputFor(one.id, 'progress'));
  expect(await read(world, one.id)).toMatchObject({ stalled_since: null, ...OFF_LADDER });
  expect(await read(world, other.id)).toMatchObject({ stalled_since: 7, escalation_level: 2 });
});

test('the reasons to be parked are checked by the database as well', async () => {
  const world = await testStore();
  const before = await inState(world, 'idle');
  const set = { parked_reason: 'whim' as (typeof PARKED_REASONS)[number] };
  await expect(apply(world, { ...inputFor(before.id, 'pause'), set })).rejects.toThrow('CHECK');
  await expect(apply(world, { ...inputFor(before.id, 'pause'), set: {} })).rejects.toThrow('CHECK');
  expect(await read(world, before.id)).toEqual(before);
});

describe('two processes at the same instant (O-07, O-12, I1)', () => {
  test('each transition has exactly one winner, unless it may be repeated', async () => {
    const world = await testStore();
    const racers = await otherProcesses(world.home, 2);
    for (const event of EVENTS) {
      const { from, to } = SESSION_EVENTS[event];
      const state = from.find((each) => (each as SessionState) !== to) ?? from[0];
      const { id } = await inState(world, state);
      const answers = (await race(racers, () => ({ op: 'transition', input: inputFor(id, event) }))) as {
        ok: boolean;
      }[];
      const mayRepeat = (from as readonly SessionState[]).includes(to);
      expect({ event, wins: answers.filter(({ ok }) => ok).length }).toEqual({ event, wins: mayRepeat ? 2 : 1 });
      const log = (await listStateLog(world.store, id)).slice(1);
      expect(log.map(({ from_state }) => from_state)).toEqual(mayRepeat ? [state, to] : [state]);
    }
  }, 60_000);

  test('rivals never both win out of the same state: the log is one chain', async () => {
    const world = await testStore();
    const racers = await otherProcesses(world.home, 2);
    const rivals: [SessionState, SessionEvent, SessionEvent][] = [
      ['working', 'stop', 'rest'],
      ['working', 'stop', 'complete'],
      ['working', 'bury', 'complete'],
      ['stalled', 'progress', 'bury'],
      ['parked', 'release', 'pause'],
      ['parked', 'release', 'stop'],
      ['queued', 'claim_first', 'stop'],
      ['idle', 'claim_next', 'stop'],
      ['failed', 'resume', 'resume'],
    ];
    for (const [state, a, b] of rivals) {
      const { id } = await inState(world, state);
      const answers = (await race(racers, (i) => ({ op: 'transition', input: inputFor(id, i === 0 ? a : b) }))) as {
        ok: boolean;
      }[];
      const chain = (await listStateLog(world.store, id)).slice(1);
      expect(chain).toHaveLength(answers.filter(({ ok }) => ok).length);
      expect(chain[0]?.from_state).toBe(state);
      for (const [i, step] of chain.entries()) if (i > 0) expect(step.from_state).toBe(chain[i - 1]?.to_state ?? '');
      expect((await read(world, id)).state).toBe(chain.at(-1)?.to_state as SessionState);
    }
  }, 60_000);
});
