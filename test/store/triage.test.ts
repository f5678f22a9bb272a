import { describe, expect, test } from 'bun:test';
import { newId } from '../../src/model/id.ts';
import type { NewSession, Sling } from '../../src/store/new-session.ts';
import { setPool } from '../../src/store/pool.ts';
import { getSession, listSessions } from '../../src/store/session.ts';
import { type AskLimits, askTriage, mayAsk, overdueAnswers, questionOf } from '../../src/store/triage.ts';
import { getTurn } from '../../src/store/turn.ts';
import { listVerdicts } from '../../src/store/verdict.ts';
import { type Act, buryTurn, nudgeTurn, recordStep } from '../../src/store/watch-act.ts';
import {
  CLEAN_EVENTS,
  endTurn,
  feedTurn,
  seedSession,
  type TakenTurn,
  type TestStore,
  takeTurn,
  testStore,
  verdictOf,
} from '../support/store.ts';
import { NUDGE, TEXT } from './family.ts';

const DESK = '/state/triage';
const LIMITS = { per_day: 5, pool: 'rehearsal' };
const END = { reason: 'stuck', terminated_by: 'tier1', notify_parent: true } as const;

async function stuck(): Promise<{ world: TestStore; taken: TakenTurn }> {
  const world = await testStore();
  const taken = await takeTurn(world, (await seedSession(world, { name: 'mute' })).id);
  await feedTurn(world, taken, [TEXT]);
  return { world, taken };
}

function actOn({ session, turn }: TakenTurn, over: Partial<Act['verdict']> = {}, level = 2): Act {
  const key = { session_id: session.id, turn: turn.turn };
  return { verdict: verdictOf(key, { act: 'triage', level, ...over }), events: 1, rung: { level, cause: 'silent' } };
}

function slingOf(world: TestStore): Sling {
  const draft: NewSession = {
    ...{ id: newId('agent'), name: 'triage-mute', role: 'triage', harness: 'rehearsal', task: 'judge', project: 'd' },
    ...{ task_group: 'w', profile_name: null, profile_json: null, model: null, repo_root: DESK, working_dir: DESK },
    ...{
      branch: null,
      base_ref: null,
      base_branch: null,
      parent_id: null,
      depth: 0,
      run_id: null,
      recovered_from: null,
    },
    is_persistent: 0,
    ...{ native_session_id: null, worktree_path: null, max_turns: 2, timeout_ms: 9, prompt_version: null },
    pool: 'rehearsal',
  };
  const brief = { from_name: 'drover', from_id: null, type: 'task', priority: 'normal', subject: 's', body: 'judge' };
  return {
    draft,
    brief: { ...brief, payload_json: null } as Sling['brief'],
    is_name_chosen: false,
    limits: { max_children: 0 },
    new_id: () => newId('agent'),
    now: world.clock.now(),
  };
}

const ask = (world: TestStore, act: Act, limits: Partial<AskLimits> = {}) =>
  askTriage(world.store, act, { sling: slingOf(world), limits: { ...LIMITS, now: world.clock.now(), ...limits } });
const desk = async (world: TestStore) => (await listSessions(world.store, { repo_root: DESK })).length;
const keyOf = ({ session, turn }: TakenTurn) => ({ session_id: session.id, turn: turn.turn });

describe('a question is one transaction (O-69, ARCHITECTURE §1)', () => {
  test('session, verdict and rung together; the verdict names whom it asked', async () => {
    const { world, taken } = await stuck();
    const asked = await ask(world, actOn(taken, { at: 1_000 }));
    expect(asked).toMatchObject({ state: 'queued', role: 'triage', parent_id: null, worktree_path: null });
    const [verdict] = await listVerdicts(world.store, taken.session.id);
    expect(verdict).toMatchObject({ act: 'triage', triage_id: asked?.id, level: 2 });
    expect(await getSession(world.store, taken.session.id)).toMatchObject({ escalation_level: 2, escalated_at: 1_000 });
    const question = { triage_id: asked?.id, asked_at: 1_000, session: { state: 'queued' } };
    expect(await questionOf(world.store, keyOf(taken))).toMatchObject(question);
  });

  test('two looks at once ask once', async () => {
    const { world, taken } = await stuck();
    const other = { ...world, store: await world.second() };
    const both = await Promise.all([ask(world, actOn(taken)), ask(other, actOn(taken))]);
    expect(both.filter((asked) => asked !== null).length).toBe(1);
    expect([await desk(world), (await listVerdicts(world.store, taken.session.id)).length]).toEqual([1, 1]);
  });

  test('nobody is asked about a turn that has spoken, is being ended, or is over', async () => {
    for (const change of ['spoke', 'ending', 'over'] as const) {
      const { world, taken } = await stuck();
      if (change === 'spoke') await feedTurn(world, taken, [TEXT]);
      if (change === 'ending') await nudgeTurn(world.store, actOn(taken), { draft: NUDGE, interrupt: true });
      if (change === 'over') await endTurn(world, taken, { ok: false });
      const before = (await listVerdicts(world.store, taken.session.id)).length;
      expect([change, await ask(world, actOn(taken))]).toEqual([change, null]);
      expect([await desk(world), (await listVerdicts(world.store, taken.session.id)).length]).toEqual([0, before]);
    }
  });

  test('an extension allows one more question', async () => {
    const { world, taken } = await stuck();
    const first = await ask(world, actOn(taken));
    expect(await recordStep(world.store, actOn(taken, { act: 'extend', triage_id: first?.id ?? '' }, 1))).toBe(true);
    expect(await questionOf(world.store, keyOf(taken))).toBeNull();
    const second = await ask(world, actOn(taken));
    expect(second?.name).toBe('triage-mute-2');
    expect(await questionOf(world.store, keyOf(taken))).toMatchObject({ triage_id: second?.id });
  });
});

describe('what it may cost is bounded (O-27)', () => {
  test('so many within a day, counted by rows', async () => {
    const { world, taken } = await stuck();
    const now = world.clock.now();
    const day = 86_400_000;
    for (const at of [now - day, now - day + 1, now])
      await recordStep(world.store, { ...actOn(taken, { at }, 1), rung: null });
    expect(await mayAsk(world.store, { ...LIMITS, per_day: 3, now })).toBe(true);
    expect(await mayAsk(world.store, { ...LIMITS, per_day: 2, now })).toBe(false);
    expect(await ask(world, actOn(taken), { per_day: 2, now })).toBeNull();
    expect(await ask(world, actOn(taken), { per_day: 0, now })).toBeNull();
    expect(await ask(world, actOn(taken), { per_day: 3, now })).not.toBeNull();
  });

  test('nobody is asked whose pool is shut', async () => {
    const { world, taken } = await stuck();
    const now = world.clock.now();
    await setPool(world.store, 'rehearsal', { type: 'block', opens_at: now + 9_000, text: 'wait' }, now);
    expect([await mayAsk(world.store, { ...LIMITS, now }), await ask(world, actOn(taken))]).toEqual([false, null]);
    await setPool(world.store, 'rehearsal', { type: 'release' }, now);
    expect(await mayAsk(world.store, { ...LIMITS, now })).toBe(true);
  });

  test('who answers too late, or has to wait, is found; others are not', async () => {
    const { world, taken } = await stuck();
    const asked = await ask(world, actOn(taken));
    const now = world.clock.now();
    const created = asked?.created_at ?? 0;
    const late = (before: number, place = DESK) => overdueAnswers(world.store, { desk: place, before });
    expect([await late(created), await late(created + 1)]).toEqual([[], [asked?.id ?? '']]);
    expect(await late(now + 9, '/elsewhere')).toEqual([]);
    const limit = {
      kind: 'usage_limit',
      status: 429,
      message: 'no',
      resets_at: null,
      retry_after_ms: null,
      final: true,
    };
    const turn = await takeTurn(world, asked?.id ?? '');
    await feedTurn(world, turn, [{ type: 'limit', limit } as never]);
    await endTurn(world, turn, { ok: false });
    expect((await getSession(world.store, asked?.id ?? ''))?.state).toBe('parked');
    expect(await late(created)).toEqual([asked?.id ?? '']);
  });
});

describe('an answer is used once', () => {
  async function answered() {
    const { world, taken } = await stuck();
    const asked = await ask(world, actOn(taken));
    const turn = await takeTurn(world, asked?.id ?? '');
    await feedTurn(world, turn, CLEAN_EVENTS.slice(0, 2));
    await endTurn(world, turn);
    const answer = { triage_id: asked?.id ?? '', tier: 1 };
    return { world, taken, answer };
  }

  test('by whatever act comes first, also from another process', async () => {
    const { world, taken, answer } = await answered();
    expect((await questionOf(world.store, keyOf(taken)))?.session).toMatchObject({ state: 'completed' });
    const other = await world.second();
    const acts = [world.store, other].map((store) => recordStep(store, actOn(taken, { ...answer, act: 'extend' }, 1)));
    expect((await Promise.all(acts)).filter((landed) => landed).length).toBe(1);
    expect(await questionOf(world.store, keyOf(taken))).toBeNull();
    const again = actOn(taken, { ...answer, act: 'terminate' }, 3);
    expect(await buryTurn(world.store, again, END)).toBeNull();
    expect(await nudgeTurn(world.store, again, { draft: NUDGE, interrupt: true })).toBe(false);
    expect(await getTurn(world.store, taken.session.id, 1)).toMatchObject({ end_cause: null });
    const used = (await listVerdicts(world.store, taken.session.id)).filter(({ triage_id }) => triage_id !== null);
    expect(used.map(({ act }) => act)).toEqual(['triage', 'extend']);
  });

  test('the schema holds it as well', async () => {
    const { world, taken, answer } = await answered();
    await recordStep(world.store, actOn(taken, { ...answer, act: 'extend' }, 1));
    const twice = world.store.write((tx) =>
      tx.run(
        "INSERT INTO verdicts (session_id, turn, judged_by, tier, health, act, level, evidence, facts_json, limits_json, triage_id, at) SELECT session_id, turn, judged_by, tier, health, act, level, evidence, facts_json, limits_json, triage_id, at FROM verdicts WHERE act = 'extend'",
      ),
    );
    expect(twice).rejects.toThrow();
  });

  test('a new start without the conversation forgets it, an ordinary one keeps it', async () => {
    for (const anew of [true, false]) {
      const { world, taken } = await stuck();
      await feedTurn(world, taken, CLEAN_EVENTS.slice(0, 1));
      const act = { ...actOn(taken, { act: 'restart' }), events: null };
      expect(await nudgeTurn(world.store, act, { draft: NUDGE, interrupt: true, anew })).toBe(true);
      const row = await getSession(world.store, taken.session.id);
      expect(row?.native_session_id).toBe(anew ? null : 'native-1');
      expect(await getTurn(world.store, taken.session.id, 1)).toMatchObject({ end_cause: 'interrupt' });
    }
  });
});
