import { describe, expect, test } from 'bun:test';
import type { Limit } from '../../src/model/harness.ts';
import { nudgeSession, pauseSession, resumeSession, stopSession } from '../../src/store/control.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { setPool } from '../../src/store/pool.ts';
import { movePools, poolsNeed } from '../../src/store/pool-advance.ts';
import { abortTurn, endSession, settleTurn } from '../../src/store/settle.ts';
import { getTurn, nextDueAt, openTurns, releaseDue, turnsToEnd } from '../../src/store/turn.ts';
import { CLEAN_EVENTS, endTurn, feedTurn, seedSession, takeTurn } from '../support/store.ts';
import { family, inputOf, mailTo, NUDGE, notes, row, TEXT } from './family.ts';
import { otherProcesses, race } from './process.ts';

const LIMIT: Limit = {
  kind: 'usage_limit',
  status: 429,
  message: 'limit',
  resets_at: null,
  retry_after_ms: 9_000,
  final: true,
};

describe('a turn is settled once', () => {
  test('the second settle finds nothing to do', async () => {
    const { world, child, taken } = await family();
    await endTurn(world, taken);
    const before = await row(world, child.id);
    expect(before).toMatchObject({ state: 'completed', result_text: 'the result', death_no: 1 });
    expect(await settleTurn(world.store, inputOf(world, taken))).toBeNull();
    expect(await row(world, child.id)).toEqual(before);
    expect(await getTurn(world.store, child.id, 1)).toMatchObject({
      outcome: 'completed',
      reason: 'ok',
      exit_code: 0,
      tree_empty: 1,
    });
  });

  test('of many processes one does it', async () => {
    const { world, parent, taken } = await family();
    await feedTurn(world, taken, [TEXT]);
    const racers = await otherProcesses(world.home, 4);
    const input = inputOf(world, taken, { max_attempts: 1 });
    expect((await race(racers, () => ({ op: 'settle', input }))).sort()).toEqual([false, false, false, true]);
    expect(await notes(world, parent.id)).toHaveLength(1);
    expect(await mailTo(world, parent.id, 'worker_died')).toHaveLength(1);
  }, 60_000);

  test('stop wins over settle, also over a clean one; the turn is closed all the same', async () => {
    for (const ok of [true, false]) {
      const { world, child, parent, taken } = await family();
      await feedTurn(world, taken, [TEXT]);
      const stopped = await stopSession(world.store, {
        session_id: child.id,
        actor: 'cli',
        reason: 'operator',
        now: 7,
      });
      expect(stopped).toMatchObject({ changed: true, prev: 'working', open_turn: 1 });
      const settled = await endTurn(world, taken, { ok });
      expect(settled).toMatchObject({ moved: false, verdict: { outcome: 'cancelled' } });
      expect(await row(world, child.id)).toMatchObject({
        state: 'stopped',
        end_reason: 'operator',
        ended_at: 7,
        token_hash: null,
      });
      expect(await openTurns(world.store)).toEqual([]);
      expect(await notes(world, parent.id)).toEqual([
        expect.objectContaining({ is_failed: 1, body: 'stopped: operator' }),
      ]);
      expect(await mailTo(world, parent.id, 'worker_died')).toEqual([]);
    }
  });

  test('a pause stands, whatever the turn made of it, and its mail comes again', async () => {
    const { world, child, taken } = await family();
    await pauseSession(world.store, { session_id: child.id, reason: 'lunch', now: 7 });
    await endTurn(world, taken, { ok: false });
    expect(await row(world, child.id)).toMatchObject({ state: 'parked', parked_reason: 'operator', resume_at: null });
    expect(await releaseDue(world.store, 9e15, 'supervisor')).toBe(0);
    await resumeSession(world.store, {
      session_id: child.id,
      brief: NUDGE,
      interrupt_reason: 'pause',
      always_brief: false,
      now: 8,
    });
    expect((await takeTurn(world, child.id)).mails.map(({ type, deliveries }) => [type, deliveries])).toEqual([
      ['task', 2],
    ]);
  });
});

describe('a death is told once (O-31, O-32, I15)', () => {
  test('by mail with its payload, and by one notification', async () => {
    const { world, parent, child, taken } = await family();
    await feedTurn(world, taken, [TEXT]);
    await settleTurn(world.store, inputOf(world, taken, { max_attempts: 1 }));
    const dead = await row(world, child.id);
    expect(dead).toMatchObject({ state: 'failed', end_reason: 'exit 1', death_no: 1 });
    const [mail, ...more] = await mailTo(world, parent.id, 'worker_died');
    expect(more).toEqual([]);
    expect(mail).toMatchObject({ from_id: child.id, from_name: 'kid', priority: 'high' });
    expect(JSON.parse(mail?.payload_json ?? '')).toEqual({
      agentName: 'kid',
      capability: 'builder',
      taskId: child.id,
      reason: 'exit 1',
      lastActivity: new Date(dead.last_activity_at ?? 0).toISOString(),
      terminatedBy: 'runner',
    });
    expect(await notes(world, parent.id)).toEqual([
      expect.objectContaining({ child_id: child.id, death_no: 1, is_failed: 1, body: 'failed: exit 1' }),
    ]);
    await endSession(world.store, {
      session_id: child.id,
      event: 'fail',
      actor: 'watchdog',
      reason: 'again',
      fence: 1,
      died: true,
      now: 1,
    });
    expect(await notes(world, parent.id)).toHaveLength(1);
    expect(await mailTo(world, parent.id, 'worker_died')).toHaveLength(1);
  });

  test('a second death after a resume is a second one', async () => {
    const { world, parent, child, taken } = await family();
    await settleTurn(world.store, inputOf(world, taken));
    expect(await row(world, child.id)).toMatchObject({ state: 'failed', end_reason: 'no_output: exit 1' });
    await resumeSession(world.store, {
      session_id: child.id,
      brief: NUDGE,
      interrupt_reason: 'failed',
      always_brief: true,
      now: 8,
    });
    expect(await row(world, child.id)).toMatchObject({
      state: 'queued',
      attempt: 0,
      resume_count: 1,
      ended_at: null,
      end_reason: null,
    });
    await settleTurn(world.store, inputOf(world, await takeTurn(world, child.id), { exit: null }));
    expect(await row(world, child.id)).toMatchObject({ state: 'zombie', end_reason: 'no_exit_status' });
    expect((await notes(world, parent.id)).map(({ death_no }) => death_no)).toEqual([1, 2]);
    const [, second] = await mailTo(world, parent.id, 'worker_died');
    expect(JSON.parse(second?.payload_json ?? '')).toMatchObject({ reason: 'no_exit_status', terminatedBy: 'tier0' });
    await stopSession(world.store, { session_id: child.id, actor: 'cli', reason: 'clean', now: 9 });
    expect(await row(world, child.id)).toMatchObject({ state: 'completed', death_no: 2 });
    expect(await notes(world, parent.id)).toHaveLength(2);
  });

  test('a process that could not be started fails its session with the reason (E-009, CX-34)', async () => {
    const { world, parent, child } = await family();
    expect(await abortTurn(world.store, { session_id: child.id, turn: 1, reason: 'spawn_error: ENOENT', now: 5 })).toBe(
      true,
    );
    expect(await abortTurn(world.store, { session_id: child.id, turn: 1, reason: 'again', now: 6 })).toBe(false);
    expect(await row(world, child.id)).toMatchObject({
      state: 'failed',
      end_reason: 'spawn_error: ENOENT',
      ended_at: 5,
    });
    expect(await getTurn(world.store, child.id, 1)).toMatchObject({ outcome: 'crashed', ended_at: 5 });
    expect(await notes(world, parent.id)).toHaveLength(1);
    const [task] = await listMail(world.store, { to_id: child.id });
    expect(task).toMatchObject({ delivered_turn: null, read_at: null, deliveries: 1 });
  });

  test('a stopped or failed parent learns of it when it is resumed; one that is done does not', async () => {
    const { world, parent, taken } = await family();
    await stopSession(world.store, { session_id: parent.id, actor: 'cli', reason: 'night', now: 1 });
    await settleTurn(world.store, inputOf(world, taken, { exit: null }));
    await resumeSession(world.store, {
      session_id: parent.id,
      brief: NUDGE,
      interrupt_reason: 'stopped',
      always_brief: false,
      now: 8,
    });
    const turn = await takeTurn(world, parent.id);
    expect(turn.notifications.map(({ child_name }) => child_name)).toEqual(['kid']);
    expect(turn.mails.map(({ type }) => type).sort()).toEqual(['task', 'worker_died']);
    const late = await seedSession(world, { parent_id: parent.id, name: 'late' });
    await endTurn(world, turn);
    await stopSession(world.store, { session_id: parent.id, actor: 'cli', reason: 'x', now: 9 });
    await world.store.write((tx) =>
      tx.run("UPDATE sessions SET state = 'completed' WHERE id = :id", { id: parent.id }),
    );
    await endTurn(world, await takeTurn(world, late.id));
    expect(await notes(world, parent.id)).toHaveLength(1);
  });

  test('the watchdog ends a session: its open turn is marked to be ended (MODEL §2.5)', async () => {
    const { world, child } = await family();
    const input = {
      session_id: child.id,
      event: 'bury' as const,
      actor: 'watchdog' as const,
      reason: 'stuck',
      died: true,
      now: 3,
    };
    expect(await endSession(world.store, { ...input, fence: 2 })).toBeNull();
    expect(await turnsToEnd(world.store)).toEqual([]);
    expect(await endSession(world.store, { ...input, fence: 1, terminated_by: 'tier1' })).toMatchObject({
      state: 'zombie',
    });
    expect(await turnsToEnd(world.store)).toEqual([{ session_id: child.id, turn: 1, end_cause: 'stuck' }]);
  });
});

describe('on the way', () => {
  test('a failed turn gives its mail back, a clean one keeps it (I5)', async () => {
    const { world, child, taken } = await family();
    await endTurn(world, taken, { ok: false, settle: { max_attempts: 9 } });
    const task = async () => (await listMail(world.store, { to_id: child.id }))[0];
    expect(await task()).toMatchObject({ delivered_turn: null, read_at: null, deliveries: 1 });
    expect(await row(world, child.id)).toMatchObject({ state: 'idle', attempt: 1 });
    const second = await takeTurn(world, child.id);
    expect(second.mails).toHaveLength(1);
    await endTurn(world, second, { settle: { is_persistent: true, now: 77 } });
    expect(await task()).toMatchObject({ delivered_turn: 2, read_at: 77, deliveries: 2 });
    expect(await row(world, child.id)).toMatchObject({ state: 'idle', attempt: 0 });
  });

  test('a limit parks with evidence, and its pool says when it goes on', async () => {
    const { world, parent, child, taken } = await family();
    await stopSession(world.store, { session_id: parent.id, actor: 'cli', reason: 'x', now: 1 });
    await feedTurn(world, taken, [TEXT, { type: 'limit', limit: LIMIT }]);
    await settleTurn(world.store, inputOf(world, taken, { now: 1_000 }));
    const parked = await row(world, child.id);
    expect(parked).toMatchObject({
      state: 'parked',
      parked_reason: 'usage_limit',
      parked_pool: 'rehearsal',
      resume_at: null,
      attempt: 0,
      death_no: 0,
    });
    expect(JSON.parse(parked.parked_evidence ?? '')).toEqual(LIMIT);
    expect(await nextDueAt(world.store, 1_000)).toBe(10_000);
    expect(await poolsNeed(world.store, 9_999)).toBeNull();
    expect(await movePools(world.store, { now: 10_000, stagger_ms: 1 })).toHaveLength(1);
    expect(await row(world, child.id)).toMatchObject({
      state: 'queued',
      parked_reason: null,
      parked_evidence: null,
      parked_pool: null,
    });
    expect((await takeTurn(world, child.id)).mails).toHaveLength(1);
  });

  test('a limit that only the exit tells of counts as well; with its guard off a session stands alone', async () => {
    const { world, child, taken } = await family();
    await setPool(world.store, 'rehearsal', { type: 'off' }, 1);
    await settleTurn(
      world.store,
      inputOf(world, taken, { exit_events: [{ type: 'limit', limit: { ...LIMIT, kind: 'auth' } }] }),
    );
    expect(await row(world, child.id)).toMatchObject({ state: 'failed', end_reason: 'auth' });
    expect(await getTurn(world.store, child.id, 1)).toMatchObject({ outcome: 'refused', reason: 'auth' });
    const other = await family();
    await setPool(other.world.store, 'rehearsal', { type: 'off' }, 1);
    await feedTurn(other.world, other.taken, [TEXT, { type: 'limit', limit: LIMIT }]);
    await settleTurn(other.world.store, inputOf(other.world, other.taken, { now: 1_000 }));
    expect(await row(other.world, other.child.id)).toMatchObject({ resume_at: 10_000, parked_pool: null });
    expect(await releaseDue(other.world.store, 9_999, 'supervisor')).toBe(0);
    expect(await releaseDue(other.world.store, 10_000, 'supervisor')).toBe(1);
  });

  test('interrupted before its first event: round by the queue, with the reason kept', async () => {
    const { world, child, taken } = await family();
    const nudged = await nudgeSession(world.store, { session_id: child.id, draft: NUDGE, interrupt: true, now: 6 });
    expect(nudged.interrupted_turn).toBe(1);
    await settleTurn(world.store, inputOf(world, taken, { exit: { code: null, signal: 'SIGTERM' }, now: 50 }));
    expect(await row(world, child.id)).toMatchObject({ state: 'parked', resume_at: 50, interrupt_reason: 'interrupt' });
    expect(await releaseDue(world.store, 50, 'supervisor')).toBe(1);
    const second = await takeTurn(world, child.id);
    expect(second.session.interrupt_reason).toBe('interrupt');
    expect(second.mails.map(({ type }) => type)).toEqual(['task', 'nudge']);
    await feedTurn(world, second, [TEXT]);
    await settleTurn(world.store, inputOf(world, second, { exit: { code: 3, signal: null }, now: 60 }));
    expect((await row(world, child.id)).interrupt_reason).toBe('interrupt');
    const third = await takeTurn(world, child.id);
    await feedTurn(world, third, CLEAN_EVENTS);
    await settleTurn(world.store, inputOf(world, third, { exit: { code: 0, signal: null } }));
    expect((await row(world, child.id)).interrupt_reason).toBeNull();
  });

  test('interrupted at work: idle, and the next turn has the nudge and the old mail', async () => {
    const { world, child, taken } = await family();
    await feedTurn(world, taken, [TEXT]);
    await nudgeSession(world.store, { session_id: child.id, draft: NUDGE, interrupt: true, now: 6 });
    await settleTurn(world.store, inputOf(world, taken, { exit: null }));
    expect(await row(world, child.id)).toMatchObject({ state: 'idle', attempt: 0, interrupt_reason: 'interrupt' });
    expect((await takeTurn(world, child.id)).mails).toHaveLength(2);
  });

  test('what a turn left behind is on record, unless drover ended the turn', async () => {
    const { world, child, taken } = await family();
    await feedTurn(world, taken, CLEAN_EVENTS);
    await settleTurn(world.store, inputOf(world, taken, { exit: { code: 0, signal: null }, leftovers: 3 }));
    expect(await getTurn(world.store, child.id, 1)).toMatchObject({ outcome: 'completed', leftovers: 3, survivors: 0 });
    const stopped = await family();
    await feedTurn(stopped.world, stopped.taken, [TEXT]);
    await stopSession(stopped.world.store, { session_id: stopped.child.id, actor: 'cli', reason: 'enough', now: 5 });
    await settleTurn(stopped.world.store, inputOf(stopped.world, stopped.taken, { exit: null, leftovers: 3 }));
    expect(await getTurn(stopped.world.store, stopped.child.id, 1)).toMatchObject({ end_cause: 'stop', leftovers: 0 });
  });

  test('survivors and the exit are on record', async () => {
    const { world, child, taken } = await family();
    await feedTurn(world, taken, [TEXT]);
    await settleTurn(
      world.store,
      inputOf(world, taken, { exit: { code: null, signal: 'SIGKILL' }, tree_empty: false, survivors: 2 }),
    );
    expect(await getTurn(world.store, child.id, 1)).toMatchObject({
      exit_code: null,
      exit_signal: 'SIGKILL',
      tree_empty: 0,
      survivors: 2,
    });
  });
});
