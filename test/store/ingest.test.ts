import { describe, expect, test } from 'bun:test';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { stopSession } from '../../src/store/control.ts';
import { listEvents, listStateLog } from '../../src/store/event.ts';
import { ingest } from '../../src/store/ingest.ts';
import { markEndCause } from '../../src/store/turn.ts';
import { noteStall } from '../../src/store/watch-act.ts';
import { endTurn, feedTurn, seedSession, type TestStore, takeTurn, verdictOf } from '../support/store.ts';
import { otherProcesses } from './process.ts';
import { batch, result, session, started, usage } from './stream.ts';

const events = async (world: TestStore, id: string) =>
  (await listEvents(world.store, { session_id: id })).filter(
    ({ turn, line_offset }) => turn !== null && line_offset !== null,
  );

describe('exactly once (ARCHITECTURE §2 Ingest)', () => {
  test('the same batch again writes nothing; neither does one from a wrong offset (O-65)', async () => {
    const { world, taken, rows } = await started();
    const input = batch(taken, 0, [[session('n1')], [usage('add', 3)], [{ type: 'text', text: 'hi' }]]);
    const [first] = await ingest(world.store, [input]);
    expect(first).toMatchObject({ stdout_offset: 3, lines: 3, events: 3, input_tokens: 3 });
    const before = await rows();
    const written = await events(world, taken.session.id);
    for (const from of [0, 1, 4]) {
      const again = batch(taken, from, [[usage('add', 50)], [{ type: 'text', text: 'again' }]]);
      expect(await ingest(world.store, [again])).toEqual([null]);
    }
    expect(await rows()).toEqual(before);
    expect(await events(world, taken.session.id)).toEqual(written);
    expect(written.map(({ type, line_offset }) => [type, line_offset])).toEqual([
      ['session', 0],
      ['usage', 1],
      ['text', 2],
    ]);
  });

  test('a refused batch does not keep the others of its transaction from being written', async () => {
    const { world, taken, rows } = await started();
    const other = await takeTurn(world, (await seedSession(world)).id);
    const answers = await ingest(world.store, [
      batch(taken, 9, [[usage('add', 1)]]),
      batch(other, 0, [[usage('add', 2)]]),
    ]);
    expect(answers.map((row) => row?.input_tokens)).toEqual([undefined, 2]);
    expect((await rows()).turn.stdout_offset).toBe(0);
  });

  test('nothing is written about a turn that is over', async () => {
    const { world, taken, rows } = await started();
    await endTurn(world, taken);
    const before = await rows();
    const late = batch(taken, before.turn.stdout_offset, [[usage('add', 9)]]);
    expect(await ingest(world.store, [late])).toEqual([null]);
    expect(await rows()).toEqual(before);
  });

  test('offset, counters, events and the session agree after kill -9 at any moment', async () => {
    const { world, taken, rows } = await started();
    let from = 0;
    for (let round = 0; round < 6; round++) {
      const [writer] = await otherProcesses(world.home, 1);
      writer?.tell({ op: 'feed', session_id: taken.session.id, turn: 1, from, times: 1_000_000 });
      expect(await writer?.next()).toBe('fed');
      // Any moment will do; a transaction takes well under a millisecond.
      await Bun.sleep(Math.random() * 30);
      await writer?.kill();
      const after = await rows();
      from = after.turn.stdout_offset;
      expect(from).toBeGreaterThan(0);
      expect(after.turn).toMatchObject({ lines: from, events: from, input_tokens: from, output_tokens: 2 * from });
      expect(after.session).toMatchObject({ state: 'working', input_tokens: from, output_tokens: 2 * from });
      const written = await world.store.read((tx) =>
        tx.get(
          'SELECT count(*) AS n, count(DISTINCT line_offset) AS lines, max(line_offset) AS last FROM events WHERE session_id = :id AND type = :type',
          {
            id: taken.session.id,
            type: 'usage',
          },
        ),
      );
      expect(written).toEqual({ n: from, lines: from, last: from - 1 });
    }
    const check = await world.store.read((tx) => tx.get('PRAGMA integrity_check'));
    expect(check).toEqual({ integrity_check: 'ok' });
  }, 60_000);
});

describe('the native session id', () => {
  test('is pinned by the first event that names it (O-14, O-34)', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [session('n1')]);
    expect((await rows()).session.native_session_id).toBe('n1');
    expect((await rows()).turn).toMatchObject({ native_session_before: null, native_session_after: 'n1' });
  });

  test('another one than the one resumed is recorded, and the one seen wins (O-55)', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [session('n1')]);
    await endTurn(world, taken, { ok: false });
    const before = (await rows()).session.native_session_id;
    const second = await takeTurn(world, taken.session.id);
    await feedTurn(world, second, [session(before ?? '')]);
    const warnings = async () =>
      (await listEvents(world.store, { session_id: taken.session.id })).filter(({ type }) => type === 'warning');
    const known = (await warnings()).length;
    await feedTurn(world, second, [session('n2')]);
    const [warning] = (await warnings()).slice(known);
    expect(warning).toMatchObject({ level: 'warning', turn: 2 });
    expect(JSON.parse(warning?.data_json ?? '')).toEqual({
      warning: 'resume_mismatch',
      expected: before,
      observed: 'n2',
    });
    expect((await rows()).session.native_session_id).toBe('n2');
    await feedTurn(world, second, [session('n2')]);
    expect(await warnings()).toHaveLength(known + 1);
  });
});

describe('state and activity', () => {
  test('the first event makes it working, malformed lines do not', async () => {
    const { world, taken, rows } = await started();
    const { last_activity_at } = (await rows()).session;
    await ingest(world.store, [batch(taken, 0, [null, null])]);
    expect((await rows()).session).toMatchObject({ state: 'booting', last_activity_at });
    expect((await rows()).turn).toMatchObject({ first_event_at: null, malformed: 2, lines: 2 });
    await ingest(world.store, [batch(taken, 2, [[{ type: 'status', status: 's', detail: '' }]], { now: 6_000 })]);
    expect((await rows()).session).toMatchObject({ state: 'working', last_activity_at: 6_000 });
    expect((await rows()).turn).toMatchObject({ first_event_at: 6_000, last_event_at: 6_000 });
    await ingest(world.store, [batch(taken, 3, [null], { now: 7_000 })]);
    expect((await rows()).session.last_activity_at).toBe(6_000);
    expect((await rows()).turn.last_event_at).toBe(6_000);
  });

  test('progress takes a stalled one back to work; an ended one stays ended', async () => {
    const { world, taken, rows } = await started();
    const key = { session_id: taken.session.id, turn: 1 };
    await feedTurn(world, taken, [{ type: 'text', text: 'a' }]);
    expect(await noteStall(world.store, { verdict: verdictOf(key, { at: 8_000 }), events: null, rung: null })).toBe(
      true,
    );
    expect((await rows()).session).toMatchObject({ state: 'stalled', stalled_since: 8_000 });
    await feedTurn(world, taken, [{ type: 'text', text: 'b' }]);
    expect((await rows()).session).toMatchObject({ state: 'working', stalled_since: null });
    await stopSession(world.store, { session_id: taken.session.id, actor: 'cli', reason: 'x', now: 9_000 });
    await feedTurn(world, taken, [{ type: 'text', text: 'c' }]);
    expect((await rows()).session.state).toBe('stopped');
    expect((await rows()).turn.events).toBe(3);
    const log = await listStateLog(world.store, taken.session.id);
    expect(log.map(({ event }) => event)).toEqual(['sling', 'claim_first', 'first_event', 'stall', 'progress', 'stop']);
  });

  test('malformed, unknown and oversize lines are counted, each once (O-65)', async () => {
    const { world, taken, rows } = await started();
    const lines = [
      null,
      [{ type: 'custom', name: 'new_thing' }],
      [],
      [
        { type: 'text', text: 'x' },
        { type: 'text', text: 'y' },
      ],
    ] as (HarnessEvent[] | null)[];
    await ingest(world.store, [batch(taken, 0, lines, { oversize: 2 })]);
    expect((await rows()).turn).toMatchObject({ lines: 6, malformed: 3, unknown: 1, events: 3 });
    const levels = (await events(world, taken.session.id)).map(({ level }) => level);
    expect(levels).toEqual(['debug', 'info', 'info']);
  });

  test('tools in flight are counted and forgotten with the result', async () => {
    const { world, taken, rows } = await started();
    const use: HarnessEvent = { type: 'tool_use', tool: 'shell', tool_id: 't', input: '', files: [] };
    const done: HarnessEvent = { type: 'tool_result', tool_id: 't', is_error: false, output: '' };
    await feedTurn(world, taken, [use, use, done]);
    expect((await rows()).turn).toMatchObject({ tools_open: 1, model_turns: 1 });
    await feedTurn(world, taken, [done, done, use]);
    expect((await rows()).turn.tools_open).toBe(1);
    await feedTurn(world, taken, [result(true, 'r')]);
    expect((await rows()).turn.tools_open).toBe(0);
    expect((await rows()).session.tool_calls).toBe(3);
  });
});

describe('the result', () => {
  test('the last one of several counts; work after it restarts the linger timer', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [{ type: 'text', text: 'a' }, result(false, 'first')]);
    expect((await rows()).turn).toMatchObject({ result_ok: 0, result_reason: 'error', result_text: 'first' });
    expect((await rows()).turn.result_at).not.toBeNull();
    await feedTurn(world, taken, [{ type: 'text', text: 'b' }]);
    expect((await rows()).turn).toMatchObject({ result_at: null, result_ok: 0 });
    await feedTurn(world, taken, [result(true, '', 4)]);
    expect((await rows()).turn).toMatchObject({
      result_ok: 1,
      result_reason: 'completed',
      result_text: 'b',
      model_turns: 4,
    });
    await feedTurn(world, taken, [result(true, 'last', null)]);
    expect((await rows()).turn).toMatchObject({ result_text: 'last', model_turns: 4 });
  });

  test('a limit is kept as it was said last', async () => {
    const { world, taken, rows } = await started();
    const limit = {
      kind: 'rate_limit' as const,
      status: 429,
      message: 'slow down',
      resets_at: null,
      retry_after_ms: 5,
      final: false,
    };
    await feedTurn(world, taken, [
      { type: 'limit', limit },
      { type: 'limit', limit: { ...limit, final: true } },
    ]);
    expect(JSON.parse((await rows()).turn.limit_json ?? '')).toEqual({ ...limit, final: true });
  });

  test('work after a limit means that it has passed; a final one stays, with the reset time of an earlier word', async () => {
    const { world, taken, rows } = await started();
    const limit = {
      kind: 'usage_limit' as const,
      status: 429,
      message: 'limit',
      resets_at: null,
      retry_after_ms: null,
      final: false,
    };
    const kept = async () => JSON.parse((await rows()).turn.limit_json ?? 'null');
    await feedTurn(world, taken, [{ type: 'limit', limit }]);
    expect(await kept()).toEqual(limit);
    await feedTurn(world, taken, [{ type: 'text', text: 'it goes on' }]);
    expect(await kept()).toBeNull();
    await feedTurn(world, taken, [{ type: 'limit', limit: { ...limit, resets_at: 5_000, final: true } }]);
    await feedTurn(world, taken, [
      { type: 'limit', limit: { ...limit, final: true } },
      { type: 'text', text: 'You have hit your limit' },
    ]);
    expect(await kept()).toEqual({ ...limit, resets_at: 5_000, final: true });
  });

  test('why a turn is ended is written once', async () => {
    const { world, taken, rows } = await started();
    const key = { session_id: taken.session.id, turn: 1 };
    expect(await markEndCause(world.store, 'silent', verdictOf(key))).toBe(true);
    expect(await markEndCause(world.store, 'timeout', verdictOf(key))).toBe(false);
    await stopSession(world.store, { session_id: key.session_id, actor: 'cli', reason: 'x', now: 9_000 });
    expect((await rows()).turn.end_cause).toBe('silent');
    await endTurn(world, taken);
    expect(await markEndCause(world.store, 'timeout', verdictOf(key))).toBe(false);
    expect(await markEndCause(world.store, 'timeout', verdictOf({ ...key, turn: 2 }))).toBe(false);
  });
});
