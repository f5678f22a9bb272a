import { describe, expect, test } from 'bun:test';
import type { GateFinding } from '../../src/model/gate-run.ts';
import type { MailRow } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { pauseSession, resumeSession, stopSession } from '../../src/store/control.ts';
import { listEvents, listStateLog } from '../../src/store/event.ts';
import { gatedSince, listGateRuns } from '../../src/store/gate-list.ts';
import { beginGate, isGateWanted, noteUntrustedGate } from '../../src/store/gate-run.ts';
import { brokenInvariants } from '../../src/store/invariants.ts';
import { getSession } from '../../src/store/session.ts';
import { type SettleInput, settleUnlessDone } from '../../src/store/settle.ts';
import { dispatchable, getTurn, releaseDue } from '../../src/store/turn.ts';
import {
  CLEAN_EVENTS,
  endTurn,
  feedTurn,
  seedSession,
  type TakenTurn,
  type TestStore,
  takeTurn,
  testStore,
} from '../support/store.ts';
import { inputOf } from './family.ts';

const RED: GateFinding = {
  ...{ verdict: 'red', command: 'npm test', reason: 'exit code 1', output: '1 test failed\n```oops', started_at: 5 },
  ended_at: 9,
};
const GREEN: GateFinding = { ...RED, verdict: 'green', command: null, reason: null, output: '' };
const CLEAN = { code: 0, signal: null };
const judged = (run: GateFinding, max_rounds = 3): Partial<SettleInput> => ({ gate: { run, max_rounds } });

async function claimed(): Promise<{ world: TestStore; taken: TakenTurn }> {
  const world = await testStore();
  const { id } = await seedSession(world);
  const taken = await takeTurn(world, id);
  await feedTurn(world, taken, CLEAN_EVENTS);
  return { world, taken };
}

const ask = (world: TestStore, taken: TakenTurn) =>
  settleUnlessDone(world.store, inputOf(world, taken, { exit: CLEAN }));
const rowOf = async (world: TestStore, { session }: TakenTurn) =>
  (await getSession(world.store, session.id)) as SessionRow;
const mailOf = (world: TestStore, to: string | null) =>
  world.store.read((tx) =>
    tx.all<MailRow>("SELECT * FROM mail WHERE to_id IS :to AND type <> 'task' ORDER BY seq", { to }),
  );

describe('who claims to be done is judged first', () => {
  test('nothing at all is written before the gate has spoken', async () => {
    const { world, taken } = await claimed();
    const before = [await rowOf(world, taken), await getTurn(world.store, taken.session.id, 1)];
    const events = await listEvents(world.store, { session_id: taken.session.id });
    expect(await ask(world, taken)).toBe('needs_gate');
    expect([await rowOf(world, taken), await getTurn(world.store, taken.session.id, 1)]).toEqual(before as never);
    expect(await listEvents(world.store, { session_id: taken.session.id })).toEqual(events);
    expect(await listStateLog(world.store, taken.session.id)).toHaveLength(3);
  });

  test('a turn that completes nothing is settled at once', async () => {
    const world = await testStore();
    const crash = await takeTurn(world, (await seedSession(world)).id);
    await feedTurn(world, crash, CLEAN_EVENTS.slice(0, 2));
    const settled = await settleUnlessDone(
      world.store,
      inputOf(world, crash, { exit: { code: 1, signal: null }, max_attempts: 3 }),
    );
    expect(settled).toMatchObject({ settlement: { event: 'rest' }, moved: true });
    const reader = await takeTurn(world, (await seedSession(world, { role: 'monitor', is_persistent: 1 })).id);
    await feedTurn(world, reader, CLEAN_EVENTS);
    const rested = await settleUnlessDone(world.store, inputOf(world, reader, { exit: CLEAN, is_persistent: true }));
    expect(rested).toMatchObject({ session: { state: 'idle' } });
  });

  test.each(['stop', 'pause'] as const)('after a %s it is not asked: the turn is settled as it is', async (how) => {
    const { world, taken } = await claimed();
    const key = { session_id: taken.session.id, turn: 1 };
    expect(await isGateWanted(world.store, key)).toBe(true);
    const wanted = { session_id: taken.session.id, actor: 'cli' as const, reason: 'enough', now: 7 };
    await (how === 'stop' ? stopSession(world.store, wanted) : pauseSession(world.store, wanted));
    expect(await isGateWanted(world.store, key)).toBe(false);
    expect(await ask(world, taken)).toMatchObject({ moved: false });
    expect((await rowOf(world, taken)).state).toBe(how === 'stop' ? 'stopped' : 'parked');
    expect(await ask(world, taken)).toBeNull();
  });
});

describe('the verdict and the settlement are one write', () => {
  test('green: completed, with the verdict on record and in the events', async () => {
    const { world, taken } = await claimed();
    await beginGate(world.store, { session_id: taken.session.id, turn: 1 }, 5);
    expect(await gatedSince(world.store, [taken.session.id])).toEqual(new Map([[taken.session.id, 5]]));
    const settled = await endTurn(world, taken, { settle: judged(GREEN) });
    expect(settled.session).toMatchObject({ state: 'completed', gate_round: 0 });
    expect(await listGateRuns(world.store, taken.session.id)).toMatchObject([{ turn: 1, round: 1, verdict: 'green' }]);
    expect(await gatedSince(world.store, [taken.session.id])).toEqual(new Map());
    const events = await listEvents(world.store, { session_id: taken.session.id });
    expect(events.filter(({ type }) => type === 'gate').map(({ level }) => level)).toEqual(['info']);
    expect(await beginGate(world.store, { session_id: taken.session.id, turn: 1 }, 6)).toBe(0);
  });

  test('red: idle, its own mail read, and the complaint as the mail of the next turn', async () => {
    const { world, taken } = await claimed();
    const settled = await endTurn(world, taken, { settle: judged(RED) });
    expect(settled.session).toMatchObject({ state: 'idle', gate_round: 1, attempt: 0, ended_at: null });
    expect(settled.verdict.outcome).toBe('completed');
    const [mail, ...none] = await mailOf(world, taken.session.id);
    expect(none).toEqual([]);
    expect(mail).toMatchObject({ from_name: 'drover', type: 'error', priority: 'high', read_at: null });
    expect(mail?.body).toContain('(exit code 1)');
    expect(mail?.body).toContain('```\nnpm test\n```');
    // A fence that the output cannot close.
    expect(mail?.body).toContain('````\n1 test failed\n```oops\n````');
    expect(mail?.body).toContain('red gate 1 of 3');
    expect(await dispatchable(world.store, world.clock.now(), 5)).toEqual([taken.session.id]);
    const next = await takeTurn(world, taken.session.id);
    expect(next.mails.map(({ id }) => id)).toEqual([mail?.id ?? '']);
    expect(await mailOf(world, null)).toEqual([]);
  });

  test('green after red begins to count anew', async () => {
    const { world, taken } = await claimed();
    await endTurn(world, taken, { settle: judged(RED) });
    const next = await takeTurn(world, taken.session.id);
    expect((await endTurn(world, next, { settle: judged(GREEN) })).session).toMatchObject({
      state: 'completed',
      gate_round: 0,
    });
    const runs = await listGateRuns(world.store, taken.session.id);
    expect(runs.map(({ turn, round, verdict }) => [turn, round, verdict])).toEqual([
      [1, 1, 'red'],
      [2, 2, 'green'],
    ]);
  });

  test('red too often: parked (gate) with the output as evidence, the operator is told, nothing wakes it but a person', async () => {
    const { world, taken } = await claimed();
    await endTurn(world, taken, { settle: judged(RED, 2) });
    const next = await takeTurn(world, taken.session.id);
    const { session } = await endTurn(world, next, { settle: judged(RED, 2) });
    expect(session).toMatchObject({ state: 'parked', parked_reason: 'gate', resume_at: null, gate_round: 2 });
    expect(JSON.parse(session.parked_evidence ?? '')).toEqual({
      ...{ kind: 'gate', text: 'gate `npm test`: exit code 1, 2 times in a row', command: 'npm test' },
      ...{ reason: 'exit code 1', output: RED.output, rounds: 2 },
    });
    const [told] = await mailOf(world, null);
    expect(told).toMatchObject({ to_name: 'operator', type: 'escalation' });
    expect(told?.body).toContain(`drover resume ${session.name}`);
    world.clock.advance(30 * 86_400_000);
    expect(await releaseDue(world.store, world.clock.now(), 'supervisor')).toBe(0);
    expect(await dispatchable(world.store, world.clock.now(), 5)).toEqual([]);
    expect(await brokenInvariants(world.store, world.clock.now())).toEqual([]);
  });

  test('a person who resumes it gives it all rounds again, and it still learns what was wrong', async () => {
    const { world, taken } = await claimed();
    await endTurn(world, taken, { settle: judged(RED, 1) });
    const brief = { from_name: 'operator', from_id: null, type: 'nudge', priority: 'normal' } as const;
    const resumed = await resumeSession(world.store, {
      ...{ session_id: taken.session.id, brief: { ...brief, subject: 's', body: 'go on', payload_json: null } },
      ...{ interrupt_reason: 'resumed', always_brief: false, now: world.clock.now() },
    });
    expect(resumed.row).toMatchObject({ state: 'queued', gate_round: 0, parked_reason: null, parked_evidence: null });
    const next = await takeTurn(world, taken.session.id);
    expect(next.mails.map(({ type }) => type)).toEqual(['error']);
    expect((await endTurn(world, next, { settle: judged(RED, 2) })).session).toMatchObject({
      state: 'idle',
      gate_round: 1,
    });
  });

  test('paused while the gate ran: its verdict is kept and changes nothing', async () => {
    const { world, taken } = await claimed();
    await pauseSession(world.store, { session_id: taken.session.id, reason: 'wait', now: 7 });
    const settled = await endTurn(world, taken, { settle: judged(RED, 1) });
    expect(settled).toMatchObject({ moved: false, session: { state: 'parked', parked_reason: 'operator' } });
    expect(settled.session.gate_round).toBe(0);
    expect(await listGateRuns(world.store, taken.session.id)).toHaveLength(1);
    expect(await mailOf(world, taken.session.id)).toEqual([]);
  });
});

test('that a gate is not trusted is said once', async () => {
  const { world, taken } = await claimed();
  for (const now of [1, 2]) await noteUntrustedGate(world.store, taken.session, 'trust it', now);
  const events = await listEvents(world.store, { session_id: taken.session.id });
  expect(events.filter(({ type }) => type === 'warning').map(({ data_json }) => JSON.parse(data_json))).toEqual([
    { warning: 'gate_untrusted', hint: 'trust it' },
  ]);
});
