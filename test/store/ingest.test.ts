import { describe, expect, test } from 'bun:test';
import type { HarnessEvent } from '../../src/model/harness.ts';
import type { SessionRow } from '../../src/model/session.ts';
import type { TurnRow } from '../../src/model/turn.ts';
import { stopSession } from '../../src/store/control.ts';
import { listEvents, listStateLog } from '../../src/store/event.ts';
import { type IngestInput, ingest } from '../../src/store/ingest.ts';
import { getSession } from '../../src/store/session.ts';
import { getTurn, markEndCause, stallTurn } from '../../src/store/turn.ts';
import {
  endTurn,
  feedTurn,
  seedSession,
  type TakenTurn,
  type TestStore,
  takeTurn,
  testStore,
} from '../support/store.ts';
import { otherProcesses } from './process.ts';

const tokens = (input_tokens: number, output_tokens = 0) => ({
  input_tokens,
  output_tokens,
  cache_read_tokens: 0,
  cache_write_tokens: 0,
  reasoning_tokens: 0,
});
const usage = (mode: 'add' | 'turn' | 'thread', input: number, output = 0): HarnessEvent => ({
  type: 'usage',
  mode,
  tokens: tokens(input, output),
});
const session = (id: string): HarnessEvent => ({ type: 'session', native_session_id: id, model: null, version: null });
const result = (ok: boolean, text = '', model_turns: number | null = 1): HarnessEvent => ({
  type: 'result',
  ok,
  reason: ok ? 'completed' : 'error',
  text,
  model_turns,
  denials: [],
});

function batch(
  taken: TakenTurn,
  from: number,
  events: (HarnessEvent[] | null)[],
  more: Partial<IngestInput> = {},
): IngestInput {
  const lines = events.map((each, i) => ({ offset: from + i, end: from + i + 1, events: each }));
  const key = {
    session_id: taken.session.id,
    turn: taken.turn.turn,
    from_offset: from,
    to_offset: from + events.length,
  };
  return { ...key, lines, oversize: 0, now: 5_000, ...more };
}

async function started(): Promise<{
  world: TestStore;
  taken: TakenTurn;
  rows: () => Promise<{ session: SessionRow; turn: TurnRow }>;
}> {
  const world = await testStore();
  const { id } = await seedSession(world);
  const taken = await takeTurn(world, id);
  const rows = async () => {
    const row = await getSession(world.store, id);
    const turn = await getTurn(world.store, id, taken.turn.turn);
    if (row === null || turn === null) throw new Error('gone');
    return { session: row, turn };
  };
  return { world, taken, rows };
}

const events = async (world: TestStore, id: string) =>
  (await listEvents(world.store, { session_id: id })).filter(
    ({ turn, line_offset }) => turn !== null && line_offset !== null,
  );

describe('exactly once (ARCHITECTURE §2 Ingest)', () => {
  test('the same batch again writes nothing; neither does one from a wrong offset', async () => {
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
  }, 30_000);
});

describe('usage (I18)', () => {
  test('add counts up, over batches and turns', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [usage('add', 3, 1), usage('add', 4, 1)]);
    await feedTurn(world, taken, [usage('add', 5)]);
    expect((await rows()).turn).toMatchObject({ input_tokens: 12, output_tokens: 2 });
    await endTurn(world, taken, { ok: false });
    const second = await takeTurn(world, taken.session.id);
    await feedTurn(world, second, [usage('add', 100)]);
    expect((await rows()).session).toMatchObject({ input_tokens: 112, output_tokens: 2 });
  });

  test('turn replaces: the total of this process so far', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [usage('turn', 10, 2)]);
    await feedTurn(world, taken, [usage('turn', 25, 4), usage('turn', 30, 5)]);
    expect((await rows()).turn).toMatchObject({ input_tokens: 30, output_tokens: 5 });
    await endTurn(world, taken, { ok: false });
    await feedTurn(world, await takeTurn(world, taken.session.id), [usage('turn', 7)]);
    expect((await rows()).session).toMatchObject({ input_tokens: 37, output_tokens: 5 });
  });

  test('thread is the total of the conversation: a resumed turn counts only what is new', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [session('t1'), usage('thread', 100, 10)]);
    await feedTurn(world, taken, [usage('thread', 150, 12)]);
    expect((await rows()).turn).toMatchObject({ input_tokens: 150, output_tokens: 12 });
    await crash(world, taken);
    const second = await takeTurn(world, taken.session.id);
    expect(second.turn.native_session_before).toBe('t1');
    await feedTurn(world, second, [session('t1'), usage('thread', 150, 12)]);
    await feedTurn(world, second, [usage('thread', 180, 20), usage('thread', 190, 21)]);
    expect(await getTurn(world.store, taken.session.id, 2)).toMatchObject({ input_tokens: 40, output_tokens: 9 });
    await crash(world, second);
    const third = await takeTurn(world, taken.session.id);
    await feedTurn(world, third, [session('t1')]);
    await crash(world, third);
    const fourth = await takeTurn(world, taken.session.id);
    await feedTurn(world, fourth, [session('t1'), usage('thread', 200, 21)]);
    expect(await getTurn(world.store, taken.session.id, 4)).toMatchObject({ input_tokens: 10, output_tokens: 0 });
    expect((await rows()).session).toMatchObject({ input_tokens: 200, output_tokens: 21 });
  });

  test('thread: another conversation counts from zero, in one batch or in two', async () => {
    for (const batches of [[[session('t2'), usage('thread', 30)]], [[session('t2')], [usage('thread', 30)]]]) {
      const { world, taken, rows } = await started();
      await feedTurn(world, taken, [session('t1'), usage('thread', 100)]);
      await crash(world, taken);
      const second = await takeTurn(world, taken.session.id);
      for (const each of batches) await feedTurn(world, second, each);
      await feedTurn(world, second, [usage('thread', 45)]);
      expect(await getTurn(world.store, taken.session.id, 2)).toMatchObject({ input_tokens: 45 });
      await crash(world, second);
      await feedTurn(world, await takeTurn(world, taken.session.id), [session('t2'), usage('thread', 50)]);
      expect((await rows()).session).toMatchObject({ input_tokens: 150, native_session_id: 't2' });
    }
  });

  test('cost: unknown is null; add counts up, turn replaces', async () => {
    const { world, taken, rows } = await started();
    const cost = (mode: 'add' | 'turn', cost_micros: number): HarnessEvent => ({ type: 'cost', mode, cost_micros });
    await feedTurn(world, taken, [usage('add', 1)]);
    expect((await rows()).session.cost_micros).toBeNull();
    await feedTurn(world, taken, [cost('turn', 500)]);
    await feedTurn(world, taken, [cost('turn', 700)]);
    expect((await rows()).session.cost_micros).toBe(700);
    await endTurn(world, taken, { ok: false });
    const second = await takeTurn(world, taken.session.id);
    await feedTurn(world, second, [cost('add', 30), cost('add', 40)]);
    await feedTurn(world, second, [cost('add', 0)]);
    expect((await rows()).session.cost_micros).toBe(770);
    expect(await getTurn(world.store, taken.session.id, 2)).toMatchObject({ cost_micros: 70 });
  });
});

/** Ends a turn without saying anything more. */
async function crash(world: TestStore, taken: TakenTurn): Promise<void> {
  const { settleTurn } = await import('../../src/store/settle.ts');
  const draft = {
    session_id: taken.session.id,
    turn: taken.turn.turn,
    exit: { code: 1, signal: null },
    tree_empty: true,
    survivors: 0,
    exit_events: [],
  };
  const limits = {
    has_contract: false,
    is_persistent: false,
    contract_hint: '',
    max_attempts: 9,
    backoff_ms: 0,
    backoff_cap_ms: 0,
  };
  expect(await settleTurn(world.store, { ...draft, ...limits, now: world.clock.now() })).not.toBeNull();
}

describe('the native session id', () => {
  test('is pinned by the first event that names it (O-34)', async () => {
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
    expect(await stallTurn(world.store, { ...key, evidence: 'silent', now: 8_000 })).toBe(true);
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

  test('malformed, unknown and oversize lines are counted, each once', async () => {
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
    expect(await markEndCause(world.store, key, 'silent')).toBe(true);
    expect(await markEndCause(world.store, key, 'timeout')).toBe(false);
    await stopSession(world.store, { session_id: key.session_id, actor: 'cli', reason: 'x', now: 9_000 });
    expect((await rows()).turn.end_cause).toBe('silent');
    await endTurn(world, taken);
    expect(await markEndCause(world.store, key, 'timeout')).toBe(false);
    expect(await markEndCause(world.store, { ...key, turn: 2 }, 'timeout')).toBe(false);
  });
});
