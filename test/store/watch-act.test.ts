import { describe, expect, test } from 'bun:test';
import type { HarnessEvent, Limit } from '../../src/model/harness.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { setPool } from '../../src/store/pool.ts';
import { getTurn, markEndCause } from '../../src/store/turn.ts';
import { appendTick, lastTick, latestVerdicts, listVerdicts } from '../../src/store/verdict.ts';
import {
  type Act,
  buryTurn,
  endOverdue,
  leaveLadder,
  noteStall,
  nudgeTurn,
  recordStep,
} from '../../src/store/watch-act.ts';
import { recentToolEvents, toolPart } from '../../src/store/watched.ts';
import { endTurn, feedTurn, type TakenTurn, type TestStore, takeTurn, testStore, verdictOf } from '../support/store.ts';
import { family, mailTo, NUDGE, notes, row, TEXT } from './family.ts';

const END = { reason: 'stuck', terminated_by: 'tier0', notify_parent: true } as const;

/** A child at work whose turn has said one word. */
async function atWork(): Promise<{ world: TestStore; parent: SessionRow; child: SessionRow; taken: TakenTurn }> {
  const found = await family();
  await feedTurn(found.world, found.taken, [TEXT]);
  return found;
}

function actOn(taken: TakenTurn, over: Partial<Act> = {}): Act {
  const key = { session_id: taken.session.id, turn: taken.turn.turn };
  return { verdict: verdictOf(key), events: 1, rung: { level: 0, cause: 'silent' }, ...over };
}

/** Every act of the watchdog about this turn; true for each that landed. */
async function allActs(world: TestStore, act: Act): Promise<boolean[]> {
  return [
    await recordStep(world.store, act),
    await noteStall(world.store, act),
    await nudgeTurn(world.store, act, { draft: NUDGE, interrupt: true }),
    await endOverdue(world.store, act, 'silent', null),
    (await buryTurn(world.store, act, END)) !== null,
  ];
}

const NONE = [false, false, false, false, false];

describe('an act misses when somebody was first (MODEL §2.5, I1)', () => {
  test('a verdict about turn 1 does not touch turn 2', async () => {
    const { world, child, taken } = await atWork();
    await endTurn(world, taken, { ok: false });
    const later = await takeTurn(world, child.id);
    await feedTurn(world, later, [TEXT]);
    const before = await row(world, child.id);
    expect(await allActs(world, actOn(taken))).toEqual(NONE);
    expect(await row(world, child.id)).toEqual(before);
    expect(await getTurn(world.store, child.id, later.turn.turn)).toMatchObject({ end_cause: null, ended_at: null });
    expect([await listVerdicts(world.store, child.id), await mailTo(world, child.id, 'nudge')]).toEqual([[], []]);
  });

  test('settled first: the session rests between turns and stays as it is', async () => {
    const { world, parent, child, taken } = await atWork();
    await endTurn(world, taken, { ok: false });
    expect((await row(world, child.id)).state).toBe('idle');
    expect(await allActs(world, actOn(taken, { events: null }))).toEqual(NONE);
    expect((await row(world, child.id)).state).toBe('idle');
    expect(await mailTo(world, parent.id, 'worker_died')).toEqual([]);
  });

  test('it has spoken since it was judged silent', async () => {
    const { world, child, taken } = await atWork();
    await feedTurn(world, taken, [TEXT]);
    expect(await allActs(world, actOn(taken))).toEqual(NONE);
    expect((await row(world, child.id)).state).toBe('working');
    expect(await recordStep(world.store, actOn(taken, { events: null }))).toBe(true);
  });

  test('somebody has decided to end it', async () => {
    const { world, child, taken } = await atWork();
    await markEndCause(
      world.store,
      'timeout',
      verdictOf({ session_id: child.id, turn: 1 }, { judged_by: 'supervisor' }),
    );
    expect(await allActs(world, actOn(taken))).toEqual(NONE);
    expect(await getTurn(world.store, child.id, 1)).toMatchObject({ end_cause: 'timeout' });
    expect(await endOverdue(world.store, actOn(taken, { rung: null }), 'timeout', 'timeout')).toBe(true);
  });
});

describe('an act about a loop misses when the loop has been left', () => {
  const poll = (output: string): HarnessEvent[] => [
    { type: 'tool_use', tool: 'Bash', tool_id: 't', input: 'gh pr checks', files: [] },
    { type: 'tool_result', tool_id: 't', output, is_error: false },
  ];
  const other: HarnessEvent = { type: 'tool_use', tool: 'Bash', tool_id: 'b', input: 'make', files: [] };
  const done: HarnessEvent = { type: 'result', ok: true, reason: 'success', text: 'done', model_turns: 1, denials: [] };

  async function looping() {
    const found = await atWork();
    await feedTurn(found.world, found.taken, poll('pending'));
    const rows = await recentToolEvents(found.world.store, found.taken.turn, 10);
    const calls = { seq: rows.at(-1)?.seq ?? 0, parts: rows.map(toolPart) };
    return { ...found, act: actOn(found.taken, { events: null, behaviour: { calls } }) };
  }

  test.each([
    ['nothing', [], true],
    ['a word', [TEXT], true],
    ['another round', poll('pending'), true],
    ['the same call, with another answer', poll('passed'), false],
    ['another call', [other], false],
    ['a round and another call', [...poll('pending'), other], false],
    ['its result', [done], false],
  ] as const)('since then: %s', async (_, events, lands) => {
    for (const what of ['note', 'nudge', 'bury'] as const) {
      const { world, taken, act } = await looping();
      await feedTurn(world, taken, [...events]);
      const landed = {
        note: () => recordStep(world.store, act),
        nudge: () => nudgeTurn(world.store, act, { draft: NUDGE, interrupt: true }),
        bury: async () => (await buryTurn(world.store, act, END)) !== null,
      };
      expect([what, await landed[what]()]).toEqual([what, lands]);
    }
  });

  test('work without effect is about no call, and a result ends it as well', async () => {
    const { world, taken } = await looping();
    const act = actOn(taken, { events: null, behaviour: { calls: null } });
    await feedTurn(world, taken, [other]);
    expect(await recordStep(world.store, act)).toBe(true);
    await feedTurn(world, taken, [done]);
    expect(await recordStep(world.store, act)).toBe(false);
  });
});

describe('what each act writes, in one transaction with its verdict (O-35, O-69, O-71)', () => {
  test('note: stalled, with the rung', async () => {
    const { world, child, taken } = await atWork();
    expect(await noteStall(world.store, actOn(taken))).toBe(true);
    const stalled = { state: 'stalled', escalation_level: 0, escalated_at: 1_000, escalation_cause: 'silent' };
    expect(await row(world, child.id)).toMatchObject(stalled);
    expect((await listVerdicts(world.store, child.id)).map(({ act, evidence }) => [act, evidence])).toEqual([
      ['note', 'silent'],
    ]);
  });

  test('a session that is called stalled keeps its process and everything else (E-079)', async () => {
    const { world, child, taken } = await atWork();
    await world.store.write((tx) =>
      tx.run("UPDATE turns SET pid = 4242, pid_start_time = '77' WHERE session_id = :id", {
        id: child.id,
      }),
    );
    const before = { session: await row(world, child.id), turn: await getTurn(world.store, child.id, 1) };
    expect(await noteStall(world.store, actOn(taken))).toBe(true);
    const after = await row(world, child.id);
    const { state, updated_at, stalled_since, escalated_at, escalation_cause } = after;
    expect([state, stalled_since]).toEqual(['stalled', 1_000]);
    expect(after).toEqual({ ...before.session, state, updated_at, stalled_since, escalated_at, escalation_cause });
    expect(await getTurn(world.store, child.id, 1)).toEqual(before.turn);
  });

  test('nudge: mail, and with an interruption the end of the turn; without, the turn goes on', async () => {
    for (const interrupt of [true, false]) {
      const { world, child, taken } = await atWork();
      const nudge = actOn(taken, { rung: { level: 1, cause: 'silent' } });
      expect(await nudgeTurn(world.store, nudge, { draft: NUDGE, interrupt })).toBe(true);
      expect((await mailTo(world, child.id, 'nudge')).length).toBe(1);
      const turn = await getTurn(world.store, child.id, 1);
      expect(turn).toMatchObject({ end_cause: interrupt ? 'interrupt' : null, ended_at: null });
      expect((await row(world, child.id)).escalation_level).toBe(1);
    }
  });

  test.each([true, false])(
    'terminate: zombie, one death, and worker_died if the parent is to know (%p)',
    async (notify_parent) => {
      const { world, parent, child, taken } = await atWork();
      const buried = await buryTurn(world.store, actOn(taken), { ...END, terminated_by: 'tier1', notify_parent });
      expect(buried).toMatchObject({ state: 'zombie', end_reason: 'stuck' });
      expect(await buryTurn(world.store, actOn(taken), END)).toBeNull();
      expect(await getTurn(world.store, child.id, 1)).toMatchObject({ end_cause: 'stuck', ended_at: null });
      const mails = await mailTo(world, parent.id, 'worker_died');
      expect(mails.map(({ payload_json }) => JSON.parse(payload_json ?? '{}').terminatedBy)).toEqual(
        notify_parent ? ['tier1'] : [],
      );
      expect((await notes(world, parent.id)).length).toBe(1);
      // The turn's own settle comes later, loses, and tells nobody a second time.
      const settled = await endTurn(world, taken, { ok: false });
      expect([settled.moved, (await row(world, child.id)).state]).toEqual([false, 'zombie']);
      expect((await mailTo(world, parent.id, 'worker_died')).length).toBe(mails.length);
    },
  );

  test('an overdue timer ends the turn as that timer says, and the session settles by it', async () => {
    const { world, child, taken } = await atWork();
    expect(await endOverdue(world.store, actOn(taken, { rung: null }), 'timeout', null)).toBe(true);
    expect(await getTurn(world.store, child.id, 1)).toMatchObject({ end_cause: 'timeout' });
    expect((await row(world, child.id)).state).toBe('working');
  });
});

describe('the rung survives an interruption and nothing else that is good (O-35, O-69)', () => {
  const onRung = async () => {
    const found = await atWork();
    const nudge = actOn(found.taken, { rung: { level: 1, cause: 'silent' } });
    await noteStall(found.world.store, actOn(found.taken));
    await nudgeTurn(found.world.store, nudge, { draft: NUDGE, interrupt: true });
    return found;
  };
  const rungOf = async (world: TestStore, id: string) => {
    const { escalation_level, escalated_at, escalation_cause } = await row(world, id);
    return [escalation_level, escalated_at, escalation_cause];
  };
  const OFF = [0, null, null];

  test('the interrupted turn settles, the next is claimed and speaks: still there', async () => {
    const { world, child, taken } = await onRung();
    await endTurn(world, taken, { ok: false, settle: { exit: null } });
    expect([(await row(world, child.id)).state, await rungOf(world, child.id)]).toEqual(['idle', [1, 1_000, 'silent']]);
    const next = await takeTurn(world, child.id);
    await feedTurn(world, next, [TEXT]);
    expect(await rungOf(world, child.id)).toEqual([1, 1_000, 'silent']);
  });

  test('what the old process says while it is being ended is no progress', async () => {
    const { world, child, taken } = await onRung();
    await feedTurn(world, taken, [TEXT]);
    expect([(await row(world, child.id)).state, await rungOf(world, child.id)]).toEqual([
      'stalled',
      [1, 1_000, 'silent'],
    ]);
  });

  test('progress leaves it, and so does a clean end', async () => {
    const noted = await atWork();
    await noteStall(noted.world.store, actOn(noted.taken));
    await feedTurn(noted.world, noted.taken, [TEXT]);
    expect(await rungOf(noted.world, noted.child.id)).toEqual(OFF);
    const { world, child, taken } = await onRung();
    await endTurn(world, taken, { ok: false, settle: { exit: null } });
    await endTurn(world, await takeTurn(world, child.id), { settle: { has_contract: true } });
    expect([(await row(world, child.id)).state, await rungOf(world, child.id)]).toEqual(['idle', OFF]);
  });

  test('the watchdog takes it back for its own turn only', async () => {
    const { world, child, taken } = await onRung();
    expect(await leaveLadder(world.store, { session_id: child.id, turn: 2 }, null)).toBe(false);
    expect(await leaveLadder(world.store, { session_id: child.id, turn: taken.turn.turn }, null)).toBe(true);
    expect(await rungOf(world, child.id)).toEqual(OFF);
  });

  test('and the word that it is well again is written with it or not at all', async () => {
    const { world, child, taken } = await onRung();
    const key = { session_id: child.id, turn: taken.turn.turn };
    const verdict = verdictOf(key, { health: 'ok', cause: null, act: 'none' });
    const before = (await listVerdicts(world.store, child.id)).length;
    const broken = { ...verdict, evidence: null as unknown as string };
    await expect(leaveLadder(world.store, key, broken)).rejects.toThrow();
    expect(await rungOf(world, child.id)).toEqual([1, 1_000, 'silent']);
    expect(await leaveLadder(world.store, key, verdict)).toBe(true);
    expect([await rungOf(world, child.id), (await listVerdicts(world.store, child.id)).length]).toEqual([
      OFF,
      before + 1,
    ]);
  });

  test('an end that was no interruption leaves it: what comes after a crash or a limit begins anew', async () => {
    const limit = { kind: 'rate_limit', final: true, message: 'slow down', status: 429 } as Limit;
    for (const ending of ['crashed', 'limited', 'limited without a guard'] as const) {
      const { world, child, taken } = await onRung();
      await endTurn(world, taken, { ok: false, settle: { exit: null } });
      if (ending === 'limited without a guard') await setPool(world.store, child.pool, { type: 'off' }, 1);
      const next = await takeTurn(world, child.id);
      const exit_events: HarnessEvent[] = ending === 'crashed' ? [] : [{ type: 'limit', limit }];
      await endTurn(world, next, { ok: false, settle: { exit_events } });
      const after = await row(world, child.id);
      expect([ending, after.state]).toEqual([ending, ending === 'crashed' ? 'idle' : 'parked']);
      expect(await rungOf(world, child.id)).toEqual(OFF);
    }
  });
});

test('the newest verdict of each session, and of a fleet the newest report; old reports go', async () => {
  const { world, child, taken } = await atWork();
  for (const health of ['late', 'ok'] as const) {
    const verdict = verdictOf({ session_id: child.id, turn: taken.turn.turn }, { health, act: 'none' });
    await recordStep(world.store, actOn(taken, { verdict, rung: null }));
  }
  const latest = await latestVerdicts(world.store, [child.id, 'agent-none']);
  expect([...latest.entries()].map(([id, { health }]) => [id, health])).toEqual([[child.id, 'ok']]);
  const empty = await testStore();
  expect(await lastTick(empty.store)).toBeNull();
  for (let at = 1; at <= 1_003; at += 1)
    await appendTick(empty.store, { at, took_ms: 1, watched: 2, report_json: '{}' });
  expect((await lastTick(empty.store))?.at).toBe(1_003);
  const [kept] = await empty.store.read((tx) => tx.all<{ n: number }>('SELECT count(*) AS n FROM ticks'));
  expect(kept?.n).toBe(1_000);
});
