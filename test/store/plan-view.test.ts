import { expect, test } from 'bun:test';
import { AppError } from '../../src/model/error.ts';
import { advance } from '../../src/model/plan-advance.ts';
import { STEP_STATES } from '../../src/model/plan-step.ts';
import { factsOf, type KnownFact, type PlanView, type WorktreeSettings } from '../../src/model/plan-view.ts';
import type { SessionRow } from '../../src/model/session.ts';
import type { TurnRow } from '../../src/model/turn.ts';
import { holdSession, pauseSession, stopSession } from '../../src/store/control.ts';
import { claimMerges, dropClaims, openMerges, settleFailed, settleMerged } from '../../src/store/merge.ts';
import { getPlan, movePlan, setPlanWindow } from '../../src/store/plan.ts';
import { takeUpStepIn } from '../../src/store/plan-reopen.ts';
import { cancelPlan, noteDiff, reopenMerges } from '../../src/store/plan-step.ts';
import { newSight, planView } from '../../src/store/plan-view.ts';
import { setPool } from '../../src/store/pool.ts';
import { transition } from '../../src/store/transition.ts';
import type { Claim } from '../../src/store/turn.ts';
import { claimSlot, freeSlot } from '../../src/store/worktree.ts';
import { storePlan, turnPlan } from '../support/plan.ts';
import { CLEAN_EVENTS, endTurn, feedTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const PLAN = `
name: night
concurrency: 3
steps:
  - {id: list, task: print}
  - {id: each, task: "fix {{ foreach.item }}", foreach: {step: list, max: 2}}
  - {id: two, task: try, attempts: 2}
  - {id: bad, task: bad, retry: {max: 1}}
  - {id: one, task: one, worktree: true, merge: queue}
  - {id: other, task: other, worktree: true, merge: queue}
  - {id: tidy, task: tidy, needs: [bad, each], when: any_failed}
  - {id: late, task: late, needs: bad}
  - {id: last, task: last, needs: [one, two], when: always}
`;

/** Looks with a memory and without one, whose views, facts and decisions must not differ. */
function looker(world: TestStore, id: string, worktrees: WorktreeSettings | null = null) {
  const sight = newSight();
  const known = new Map<string, KnownFact>();
  const facts = (view: PlanView, memory: Map<string, KnownFact>) =>
    factsOf(view, new Map(), 0.5, world.clock.now(), view.slots === null ? null : worktrees, memory);
  return async () => {
    const [seen, fresh] = [await planView(world.store, id, sight), await planView(world.store, id)];
    if (seen === null || fresh === null) throw new Error(`no plan ${id}`);
    const byId = ({ sessions, ...rest }: PlanView) => ({
      ...rest,
      sessions: new Map(sessions.map((session) => [session.id, session])),
    });
    expect(byId(seen)).toEqual(byId(fresh));
    const now = world.clock.now();
    const [remembered, anew] = [facts(seen, known), facts(fresh, new Map())];
    expect(remembered).toEqual(anew);
    expect(advance(remembered, now)).toEqual(advance(anew, now));
    // Of the same rows, sessions that are still to be counted are taken to be at work.
    expect(facts(uncounted(seen), known)).toEqual(facts(uncounted(fresh), new Map()));
    // And of the same rows among other pools.
    expect(facts(poolOpened(seen), known)).toEqual(facts(poolOpened(fresh), new Map()));
    return { seen, moving: [...sight.moving] };
  };
}

const uncounted = (view: PlanView): PlanView => ({
  ...view,
  sessions: view.sessions.map((each) => (each.state === 'completed' ? { ...each, state: 'working' } : each)),
});

const poolOpened = (view: PlanView): PlanView => ({ ...view, pools: [] });

const answer = (world: TestStore, id: string) =>
  world.store.write((tx) => tx.run(`UPDATE sessions SET result_text = '["x","y"]' WHERE id = :id`, { id }));

/** Begins or ends what there is, so that steps are seen in every state. */
async function work(world: TestStore): Promise<void> {
  const queued = await world.store.read((tx) =>
    tx.all<{ id: string; task: string }>("SELECT id, task FROM sessions WHERE state = 'queued'"),
  );
  for (const { id, task } of queued) {
    const turn = await takeTurn(world, id);
    await endTurn(world, turn, { ok: task !== 'bad', settle: { max_attempts: 1 } });
    if (task === 'print') await answer(world, id);
  }
}

/** Puts what waits to be merged into the target. */
async function mergeAll(world: TestStore): Promise<void> {
  const waiting = await world.store.read((tx) =>
    tx.all<{ session_id: string }>("SELECT session_id FROM plan_steps WHERE state = 'merging'"),
  );
  const now = world.clock.now();
  const claims = waiting.map(({ session_id }) => ({ session_id, branch: `b-${session_id}`, head: 'h' }));
  const rows = await claimMerges(world.store, { claims, repo_root: '/farm', target: 'main', base_head: 'b', now });
  const attempts = rows.map(({ seq }) => ({
    ...{ seq, outcome: 'merged' as const, merged_commit: 'c', missing_json: null },
  }));
  await settleMerged(world.store, { attempts, by: 'test', now });
}

test('a look that remembers sees what one sees that reads everything, through a whole plan and after it', async () => {
  const world = await testStore();
  const { store } = world;
  const { id } = await storePlan(store, PLAN, world.clock.now());
  const look = looker(world, id);
  for (let looks = 0; looks < 60 && (await getPlan(store, id))?.ended_at === null; looks++) {
    await look();
    await turnPlan(store, id, world.clock.now());
    await look();
    await work(world);
    for (const { id: session, slot } of (await look()).seen.sessions) await noteDiff(store, session, 10 - slot);
    await look();
    await mergeAll(world);
    world.clock.advance(10_000);
  }
  const { seen, moving } = await look();
  expect(seen.plan.state).toBe('failed');
  expect(moving).toEqual([]);
  // A person brings back a session of a step that has ended: from then on it is looked at again.
  const back = seen.sessions.find(({ step_id }) => step_id === 'bad')?.id ?? '';
  await store.write((tx) =>
    transition(tx, { session_id: back, event: 'resume', actor: 'cli', now: world.clock.now() }),
  );
  expect((await look()).seen.sessions.find((session) => session.id === back)?.state).toBe('queued');
  expect((await look()).moving).toEqual(['bad']);
  await store.write((tx) => tx.run('UPDATE sessions SET input_tokens = 7 WHERE id = :back', { back }));
  const spent = (await look()).seen;
  expect(spent.sessions.find((session) => session.id === back)?.input_tokens).toBe(7);
}, 60_000);

test('a turn that is in flight when its session is stopped is seen to its end', async () => {
  const world = await testStore();
  const { store, clock } = world;
  const { id } = await storePlan(store, 'name: n\nsteps: [{id: a, task: t}, {id: b, task: t}]', clock.now());
  const look = looker(world, id);
  await turnPlan(store, id, clock.now());
  const [first] = (await look()).seen.sessions;
  const claim = await takeTurn(world, first?.id ?? '');
  await stopSession(store, { session_id: claim.session.id, actor: 'cli', reason: 'enough', now: clock.now() });
  await look();
  await turnPlan(store, id, clock.now());
  expect((await look()).seen.steps.map(({ state }) => state)).toEqual(['failed', 'running']);
  await endTurn(world, claim, { ok: false });
  expect((await look()).seen.sessions[0]?.outcome).toBe('cancelled');
});

/** One of everything that may happen to a plan from outside; what does not apply just now does nothing. */
type Blow = (world: TestStore, plan_id: string, of: SessionRow, dice: number) => Promise<unknown>;

const LIVE = ['queued', 'booting', 'working', 'idle', 'stalled'];
const USUAL = 6;
const BLOWS: Blow[] = [
  ({ store, clock }, id) => turnPlan(store, id, clock.now()),
  async (world, _, { id, state, task }, dice) => {
    if (state !== 'queued') return;
    await endTurn(world, await takeTurn(world, id), { ok: dice % 3 > 0, settle: { max_attempts: 1 } });
    if (task === 'print') await answer(world, id);
  },
  async (world, _, session, dice) => {
    const claim = await openTurnOf(world, session);
    if (claim !== null) await endTurn(world, claim, { ok: dice % 3 > 0, settle: { max_attempts: 1 } });
  },
  ({ store, clock }, _, { id }) =>
    claimMerges(store, {
      ...{ claims: [{ session_id: id, branch: `b-${id}`, head: 'h' }], repo_root: '/farm', target: 'main' },
      ...{ base_head: 'b', now: clock.now() },
    }),
  async ({ store, clock }, _, __, dice) => {
    for (const { seq } of await openMerges(store, null)) {
      const failed = { outcome: 'gate' as const, reason: 'tests', output: null, mail: null };
      const merged = { outcome: 'merged' as const, merged_commit: 'c', missing_json: null };
      if (dice % 3 === 0) await dropClaims(store, [seq]);
      else if (dice % 3 === 1) await settleFailed(store, { attempts: [{ seq, ...failed }], now: clock.now() });
      else await settleMerged(store, { attempts: [{ seq, ...merged }], by: 'test', now: clock.now() });
    }
  },
  ({ store, clock }) => setPool(store, 'p', { type: 'release' }, clock.now()),
  async (world, _, { id, state }) => state === 'queued' && takeTurn(world, id),
  async (world, _, session) => {
    const claim = await openTurnOf(world, session);
    if (claim !== null) await feedTurn(world, claim, CLEAN_EVENTS.slice(0, 2));
  },
  ({ store, clock }, _, { id }) => pauseSession(store, { session_id: id, reason: 'wait', now: clock.now() }),
  async ({ store, clock }, _, { id, state }) =>
    LIVE.includes(state) &&
    holdSession(store, { session_id: id, reason: 'wait', until: clock.now() + 5_000, now: clock.now() }),
  ({ store, clock }, _, { id }) =>
    stopSession(store, { session_id: id, actor: 'cli', reason: 'stopped', now: clock.now() }),
  ({ store, clock }, _, { id, state }) =>
    store.write((tx) => {
      const event = state === 'parked' ? 'release' : 'resume';
      const moved = transition(tx, { session_id: id, event, actor: 'cli', now: clock.now() });
      if (moved.ok) takeUpStepIn(tx, { session: moved.row, by_person: true, now: clock.now() });
    }),
  ({ store, clock }, _, __, dice) =>
    setPool(store, 'p', { type: 'block', opens_at: dice % 2 ? null : clock.now() + 9_000, text: 'full' }, clock.now()),
  ({ store, clock }, id, _, dice) => setPlanWindow(store, { id, is_open: dice % 2 === 0, now: clock.now() }),
  ({ store, clock }, id, _, dice) =>
    movePlan(store, { id, to: dice % 4 ? 'active' : 'paused', reason: null, now: clock.now() }),
  async (world, _, { id, run_id }, dice) => {
    const child = await seedSession(world, { run_id, parent_id: id, depth: 1 });
    const spend = 'UPDATE sessions SET cost_micros = :dice, input_tokens = :dice WHERE id = :id';
    await world.store.write((tx) => tx.run(spend, { id: child.id, dice }));
  },
  // Only such are counted as can still be taken.
  async ({ store }, plan_id, { id }, dice) => {
    const open = await store.read((tx) =>
      tx.get(
        `SELECT 1 FROM step_sessions AS t JOIN plan_steps AS p USING (plan_id, step_id, round)
         WHERE t.session_id = :id AND p.plan_id = :plan_id AND p.ended_at IS NULL`,
        { id, plan_id },
      ),
    );
    if (open !== null) await noteDiff(store, id, dice);
  },
  ({ store }, _, { id }) =>
    store.write((tx) => tx.run("UPDATE sessions SET parked_pool = 'p' WHERE id = :id AND state = 'parked'", { id })),
  // Asks for a worktree, gets one, loses it.
  ({ store }, _, { id }) =>
    store.write((tx) => tx.run("UPDATE sessions SET branch = 'b-' || id, base_ref = 'HEAD' WHERE id = :id", { id })),
  ({ store, clock }, _, { id }) => claimSlot(store, { session_id: id, path: `/w/${id}`, max: 2, now: clock.now() }),
  // A worktree of nobody's that has to stay.
  ({ store, clock }, _, __, dice) =>
    store.write((tx) =>
      tx.run(
        `INSERT INTO worktrees (path, session_id, repo_root, branch, base_commit, claimed_at, created_at, kept_at)
         VALUES (:path, 'agent-gone', '/farm', 'x', 'c', 0, 0, :now)`,
        { path: `/kept/${dice}-${clock.monotonic()}`, now: clock.now() },
      ),
    ),
  async ({ store }) => {
    const held = await store.read((tx) => tx.get<{ path: string }>('SELECT path FROM worktrees LIMIT 1'));
    if (held !== null) await freeSlot(store, held.path);
  },
  ({ store, clock }, id) => reopenMerges(store, { plan_id: id, now: clock.now() }),
];

async function openTurnOf({ store }: TestStore, session: SessionRow): Promise<Claim | null> {
  const turn = await store.read((tx) =>
    tx.get<TurnRow>('SELECT * FROM turns WHERE session_id = :id AND ended_at IS NULL', { id: session.id }),
  );
  return turn === null ? null : { session, turn, mails: [], notifications: [] };
}

/** Strikes a plan again and again, and looks each time. Returns what steps and slots were seen in. */
async function struck(seed: number): Promise<Set<string>> {
  const world = await testStore();
  const { store, clock } = world;
  const { id } = await storePlan(store, PLAN, clock.now());
  const look = looker(world, id, { max: 2, by_default: seed % 2 === 0 });
  let state = seed;
  const dice = (below: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  await turnPlan(store, id, clock.now());
  const met = new Set<string>();
  for (let i = 0; i < 250; i += 1) {
    const { seen } = await look();
    for (const { state } of seen.steps) met.add(state);
    if (seen.slots !== null && seen.slots.held - seen.slots.coming >= 2) met.add('no slot');
    const of = seen.sessions[dice(seen.sessions.length)]?.id ?? '';
    const row = await store.read((tx) => tx.get<SessionRow>('SELECT * FROM sessions WHERE id = :of', { of }));
    // The first few are how a plan goes on.
    const blow = BLOWS[dice(3) > 0 ? dice(USUAL) : dice(BLOWS.length)];
    if (row === null || blow === undefined) throw new Error('nobody to hit');
    try {
      await blow(world, id, row, dice(1_000));
    } catch (error) {
      // What does not apply: e.g. a session that its plan or its pool holds back has no turn to take, or its name is another's.
      const isRefused = error instanceof AppError && error.kind === 'refused';
      if (!isRefused && !/no turn to claim|sessions.name/.test(String(error))) throw error;
    }
    clock.advance(dice(2_000));
  }
  await cancelPlan(store, { id, reason: 'enough', now: clock.now() });
  expect((await look()).seen.steps.every(({ ended_at }) => ended_at !== null)).toBe(true);
  return met;
}

test('whatever happens to it, and in which order: spending, pools, worktrees, merges, holds, its window', async () => {
  const met = new Set<string>();
  for (let seed = 1; seed <= 5; seed += 1) for (const each of await struck(seed)) met.add(each);
  for (const each of [...STEP_STATES.filter((state) => state !== 'cancelled'), 'no slot']) expect(met).toContain(each);
}, 60_000);
