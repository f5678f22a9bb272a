import { describe, expect, test } from 'bun:test';
import { resolve } from 'node:path';
import { PLAN_PREDECESSORS, PLAN_STATES } from '../../src/model/plan.ts';
import { ENDED_STEP_STATES, STEP_PREDECESSORS, STEP_STATES } from '../../src/model/plan-step.ts';
import { stopSession } from '../../src/store/control.ts';
import {
  findPlan,
  getPlan,
  insertPlan,
  listPlanLog,
  listPlans,
  markReportedIn,
  movePlan,
  setPlanWindow,
  stopPlan,
} from '../../src/store/plan.ts';
import {
  cancelPlan,
  fanOutStep,
  markArchived,
  moveStep,
  noteDiff,
  retryStep,
  sessionsToArchive,
  sessionsToStop,
  startStep,
} from '../../src/store/plan-step.ts';
import { planView } from '../../src/store/plan-view.ts';
import { findRun } from '../../src/store/run.ts';
import type { Store } from '../../src/store/store.ts';
import { slingOf, storePlan, turnPlan } from '../support/plan.ts';
import { endTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

const PLAN = `
name: night
concurrency: 10
steps:
  - {id: a, task: first}
  - {id: b, task: second, needs: a, attempts: 2, retry: {max: 1}}
`;
const sling = (world: TestStore) => slingOf('do it', world.clock.now());
const start = (world: TestStore, plan_id: string, more = {}, store: Store = world.store) =>
  startStep(store, {
    plan_id,
    step_id: 'a',
    round: 1,
    slot: 1,
    sling: sling(world),
    actor: 'supervisor',
    now: world.clock.now(),
    ...more,
  });
const rowsOf = async (store: Store, id: string) => (await planView(store, id))?.steps ?? [];
const made = async () => {
  const world = await testStore();
  return { world, plan: await storePlan(world.store, PLAN, world.clock.now()) };
};

test('a plan is stored with all its steps and a run of its own before anything starts (C-12)', async () => {
  const { world, plan } = await made();
  expect(plan).toMatchObject({ state: 'active', name: 'night', ended_at: null, stopping: null });
  expect(
    (await rowsOf(world.store, plan.id)).map(({ step_id, state, round, pool }) => ({ step_id, state, round, pool })),
  ).toEqual([
    { step_id: 'a', state: 'pending', round: 1, pool: 'p' },
    { step_id: 'b', state: 'pending', round: 1, pool: 'p' },
  ]);
  expect(await findRun(world.store, plan.run_id)).toMatchObject({ name: 'night', status: 'active', agent_count: 0 });
  const again = await storePlan(world.store, PLAN, world.clock.now());
  expect((await findRun(world.store, again.run_id)).name).toBe('night-2');
  expect((await listPlanLog(world.store, plan.id)).map(({ event, detail }) => [event, detail])).toEqual([
    ['created', '2 steps'],
  ]);
});

test('a plan that cannot be stored leaves nothing', async () => {
  const { world, plan } = await made();
  const { settings_json, ...rest } = plan;
  const draft = { ...rest, settings: JSON.parse(settings_json), steps: [], now: 1 };
  await expect(insertPlan(world.store, draft)).rejects.toThrow('UNIQUE');
  expect(await listPlans(world.store)).toHaveLength(1);
});

test('a plan is found by id, run, name, the beginning of its id, or as the latest', async () => {
  const { world, plan } = await made();
  world.clock.advance(1_000);
  const other = await storePlan(world.store, PLAN.replace('night', 'day'), world.clock.now());
  for (const wanted of [plan.id, plan.run_id, 'night', plan.id.slice(0, 15)])
    expect((await findPlan(world.store, wanted)).id).toBe(plan.id);
  expect((await findPlan(world.store, 'latest')).id).toBe(other.id);
  await expect(findPlan(world.store, 'nobody')).rejects.toMatchObject({ code: 'plan_not_found' });
  await expect(findPlan(world.store, 'plan-')).rejects.toMatchObject({ code: 'plan_ambiguous' });
});

describe('a step is slung exactly once (I9)', () => {
  test('by however many at the same time', async () => {
    const { world, plan } = await made();
    const stores = await Promise.all(Array.from({ length: 4 }, () => world.second()));
    const landed = await Promise.all(stores.map((store) => start(world, plan.id, {}, store)));
    expect(landed.filter((row) => row !== null)).toHaveLength(1);
    expect(await start(world, plan.id)).toBeNull();
    const counts = await world.store.read((tx) =>
      tx.get('SELECT (SELECT count(*) FROM sessions) AS s, (SELECT count(*) FROM step_sessions) AS t'),
    );
    expect(counts).toEqual({ s: 1, t: 1 });
    expect((await world.store.read((tx) => tx.get<{ run_id: string }>('SELECT run_id FROM sessions')))?.run_id).toBe(
      plan.run_id,
    );
  });

  test('each attempt and each round once', async () => {
    const { world, plan } = await made();
    const b = { step_id: 'b' };
    expect(await start(world, plan.id, { ...b, slot: 1 })).not.toBeNull();
    expect(await start(world, plan.id, { ...b, slot: 2 })).not.toBeNull();
    expect(await start(world, plan.id, { ...b, slot: 2 })).toBeNull();
    expect(await start(world, plan.id, { ...b, round: 2, slot: 1 })).toBeNull();
    const key = { plan_id: plan.id, step_id: 'b', now: 5 };
    const again = { ...key, round: 1, outcome: 'lost' as const, not_before_at: 9 };
    expect(await retryStep(world.store, again)).toMatchObject({
      state: 'pending',
      round: 2,
      outcome: 'lost',
      not_before_at: 9,
    });
    expect(await retryStep(world.store, again)).toBeNull();
    expect(await start(world, plan.id, { ...b, slot: 1 })).toBeNull();
    expect(await start(world, plan.id, { ...b, round: 2, slot: 1 })).not.toBeNull();
  });

  test('not for a plan that is paused, parked or over, and a refused sling leaves the step as it was', async () => {
    const { world, plan } = await made();
    for (const to of ['paused', 'active', 'parked'] as const) {
      expect(await movePlan(world.store, { id: plan.id, to, reason: null, now: 5 })).not.toBeNull();
      if (to !== 'active') expect(await start(world, plan.id)).toBeNull();
    }
    await movePlan(world.store, { id: plan.id, to: 'active', reason: null, now: 5 });
    const orphan = slingOf('x', 5);
    await expect(
      start(world, plan.id, { sling: { ...orphan, draft: { ...orphan.draft, parent_id: 'nobody' } } }),
    ).rejects.toMatchObject({ code: 'parent_ended' });
    expect((await rowsOf(world.store, plan.id))[0]?.state).toBe('pending');
    await cancelPlan(world.store, { id: plan.id, reason: 'x', now: 6 });
    expect(await start(world, plan.id)).toBeNull();
  });

  test('whatever is killed: who comes after goes on, and nothing is there twice', async () => {
    const world = await testStore();
    const steps = Array.from({ length: 120 }, (_, i) => `  - {id: s${i}, task: t${i}, attempts: ${(i % 3) + 1}}`);
    const plan = await storePlan(
      world.store,
      `name: n\nconcurrency: 1000\nsteps:\n${steps.join('\n')}\n`,
      world.clock.now(),
    );
    const planner = () =>
      Bun.spawn([process.execPath, resolve(import.meta.dir, 'fixtures/planner.ts'), world.home, plan.id], {
        ...{ stdout: 'pipe', stderr: 'inherit', env: { ...process.env } },
      });
    const started = async () =>
      (await world.store.read((tx) => tx.get<{ n: number }>('SELECT count(*) AS n FROM step_sessions')))?.n ?? 0;
    for (let round = 0; round < 4; round++) {
      const [first, second] = [planner(), planner()];
      const before = await started();
      while ((await started()) < Math.min(240, before + 25)) await Bun.sleep(2);
      first.kill(9);
      second.kill(9);
      await Promise.all([first.exited, second.exited]);
    }
    const [last, beside] = [planner(), planner()];
    expect([await last.exited, await beside.exited]).toEqual([0, 0]);
    const counts = await world.store.read((tx) =>
      tx.get(`SELECT (SELECT count(*) FROM sessions) AS sessions, (SELECT count(*) FROM step_sessions) AS tries,
        (SELECT count(DISTINCT step_id || ' ' || round || ' ' || slot) FROM step_sessions) AS apart,
        (SELECT count(*) FROM mail) AS briefs, (SELECT count(*) FROM plan_log WHERE event = 'started') AS told`),
    );
    expect(counts).toEqual({ sessions: 240, tries: 240, apart: 240, briefs: 240, told: 240 });
  }, 60_000);
});

describe('only legal moves, each by one guarded write', () => {
  test('of a step: every state × every state', async () => {
    const { world, plan } = await made();
    for (const from of STEP_STATES) {
      for (const to of STEP_STATES) {
        const ended_at = (ENDED_STEP_STATES as readonly string[]).includes(from) ? 1 : null;
        await world.store.write((tx) =>
          tx.run("UPDATE plan_steps SET state = :from, ended_at = :ended_at WHERE step_id = 'a'", { from, ended_at }),
        );
        const row = await moveStep(world.store, { plan_id: plan.id, step_id: 'a', round: 1, to, now: 7 });
        expect({ from, to, moved: row !== null }).toEqual({ from, to, moved: STEP_PREDECESSORS[to].includes(from) });
        if (row !== null) expect(row.ended_at !== null).toBe((ENDED_STEP_STATES as readonly string[]).includes(to));
      }
    }
    expect(await moveStep(world.store, { plan_id: plan.id, step_id: 'b', round: 2, to: 'failed', now: 7 })).toBeNull();
  });

  test('of a plan: every state × every state; with its end its run ends', async () => {
    const { world, plan } = await made();
    for (const from of PLAN_STATES) {
      for (const to of PLAN_STATES) {
        const ended_at = ['completed', 'failed', 'cancelled'].includes(from) ? 1 : null;
        await world.store.write((tx) =>
          tx.run('UPDATE plans SET state = :from, ended_at = :ended_at', { from, ended_at }),
        );
        const row = await movePlan(world.store, { id: plan.id, to, reason: 'r', now: 7 });
        expect({ from, to, moved: row !== null }).toEqual({ from, to, moved: PLAN_PREDECESSORS[to].includes(from) });
      }
    }
    expect((await findRun(world.store, plan.run_id)).status).toBe('completed');
  });

  test('a plan is stopped once, its window is noted once, its report is told once', async () => {
    const { world, plan } = await made();
    const { store } = world;
    const { id } = plan;
    expect([
      await stopPlan(store, { id, cause: 'usd', now: 1 }),
      await stopPlan(store, { id, cause: 'failed_steps', now: 2 }),
    ]).toEqual([true, false]);
    expect((await getPlan(store, id))?.stopping).toBe('usd');
    const open = (is_open: boolean) => setPlanWindow(store, { id, is_open, now: 3 });
    expect([await open(true), await open(true), await open(false)]).toEqual([true, false, true]);
    const told = (now: number) => store.write((tx) => markReportedIn(tx, id, now));
    expect(await told(4)).toBe(false);
    await movePlan(store, { id, to: 'failed', reason: null, now: 5 });
    expect([await told(6), await told(7)]).toEqual([true, false]);
    expect((await listPlanLog(store, id)).map(({ event }) => event)).toEqual([
      'created',
      'stopping',
      'window_opened',
      'window_closed',
      'failed',
    ]);
    expect(await listPlans(store, { open: true })).toEqual([]);
  });
});

test('a list fans out once, its members before their group', async () => {
  const world = await testStore();
  const plan = await storePlan(
    world.store,
    'name: n\nsteps:\n  - {id: l, task: t}\n  - {id: f, task: "{{ foreach.item }}", foreach: l}\n  - {id: z, task: t, needs: f}\n',
    1,
  );
  const stores = [world.store, await world.second()];
  const spec = JSON.parse((await rowsOf(world.store, plan.id))[1]?.spec_json ?? '{}');
  const members = ['f.1', 'f.2'].map((id) => ({ step: { ...spec, id, kind: 'task', group_id: 'f' }, pool: 'p' }));
  const key = { plan_id: plan.id, step_id: 'f', round: 1, members, dropped: 3, now: 2 };
  const landed = await Promise.all(stores.map((store) => fanOutStep(store, key)));
  expect(landed.filter((row) => row !== null)).toHaveLength(1);
  expect((await rowsOf(world.store, plan.id)).map(({ step_id, state, dropped }) => [step_id, state, dropped])).toEqual([
    ['l', 'pending', 0],
    ['f.1', 'pending', 0],
    ['f.2', 'pending', 0],
    ['f', 'running', 3],
    ['z', 'pending', 0],
  ]);
});

test('a cancelled plan ends at once; its sessions are named until they are stopped', async () => {
  const { world, plan } = await made();
  const session = await start(world, plan.id);
  expect(await cancelPlan(world.store, { id: plan.id, reason: 'enough', now: 9 })).toEqual([session?.id ?? '']);
  expect(await cancelPlan(world.store, { id: plan.id, reason: 'enough', now: 9 })).toBeNull();
  expect((await rowsOf(world.store, plan.id)).map(({ state, reason }) => [state, reason])).toEqual([
    ['cancelled', 'enough'],
    ['cancelled', 'enough'],
  ]);
  expect(await sessionsToStop(world.store)).toEqual([session?.id ?? '']);
  await stopSession(world.store, { session_id: session?.id ?? '', actor: 'supervisor', reason: 'x', now: 10 });
  expect(await sessionsToStop(world.store)).toEqual([]);
});

/** Ends the only turn of every queued session. */
async function work(world: TestStore, isOk: (task: string) => boolean, text?: string): Promise<void> {
  const queued = await world.store.read((tx) =>
    tx.all<{ id: string; task: string }>("SELECT id, task FROM sessions WHERE state = 'queued'"),
  );
  for (const { id, task } of queued) {
    await endTurn(world, await takeTurn(world, id), { ok: isOk(task), settle: { max_attempts: 1 } });
    if (text !== undefined)
      await world.store.write((tx) => tx.run('UPDATE sessions SET result_text = :text WHERE id = :id', { text, id }));
  }
}

test('a whole plan through the database: attempts, a retry, a list, a failure, and its end', async () => {
  const world = await testStore();
  const { store } = world;
  const plan = await storePlan(
    store,
    `
name: night
steps:
  - {id: list, task: print}
  - {id: each, task: "fix {{ foreach.item }}", foreach: {step: list, max: 2}}
  - {id: two, task: try, attempts: 2}
  - {id: bad, task: bad, retry: {max: 1}}
  - {id: tidy, task: tidy, needs: [bad, each], when: any_failed}
  - {id: late, task: late, needs: bad}
`,
    world.clock.now(),
  );
  const { id } = plan;
  for (let looks = 0; looks < 60 && (await getPlan(store, id))?.ended_at === null; looks++) {
    expect((await turnPlan(store, id, world.clock.now())).every(({ landed }) => landed)).toBe(true);
    await work(world, (task) => task !== 'bad', 'Here they are:\n["x", {"y": 1}, "z"]');
    for (const { id: session, slot } of (await planView(store, id))?.sessions ?? [])
      await noteDiff(store, session, 10 - slot);
    world.clock.advance(10_000);
  }
  expect(
    (await rowsOf(store, id)).map(({ step_id, state, outcome, round, dropped }) => [
      step_id,
      state,
      outcome,
      round,
      dropped,
    ]),
  ).toEqual([
    ['list', 'done', null, 1, 0],
    ['each.1', 'done', null, 1, 0],
    ['each.2', 'done', null, 1, 0],
    ['each', 'done', null, 1, 1],
    ['two', 'done', null, 1, 0],
    ['bad', 'failed', 'failed', 2, 0],
    ['tidy', 'done', null, 1, 0],
    ['late', 'skipped', 'need_failed', 1, 0],
  ]);
  expect(await getPlan(store, id)).toMatchObject({ state: 'failed', reason: '1 of 7 steps failed' });
  // The smaller one was kept, the other one is to be put away, once.
  const view = await planView(store, id);
  const two = view?.sessions.filter(({ step_id }) => step_id === 'two') ?? [];
  expect(view?.steps.find(({ step_id }) => step_id === 'two')?.session_id).toBe(two[1]?.id ?? '');
  expect((await sessionsToArchive(store)).map(({ session_id }) => session_id)).toEqual([two[0]?.id ?? '']);
  expect([await markArchived(store, two[0]?.id ?? '', 1), await markArchived(store, two[0]?.id ?? '', 2)]).toEqual([
    true,
    false,
  ]);
  // Nobody is told by mail that its sessions have ended: the plan says so itself (O-72).
  const told = await store.read((tx) =>
    tx.all<{ subject: string }>("SELECT subject FROM mail WHERE subject LIKE 'Run %'"),
  );
  expect(told).toEqual([]);
}, 60_000);

test('only a step that waits for its next try has a time for it', async () => {
  const { world, plan } = await made();
  const try_ = { plan_id: plan.id, step_id: 'a', now: 5 };
  const waits = async () => {
    await start(world, plan.id, { round: 1 });
    return retryStep(world.store, { ...try_, round: 1, outcome: 'lost', not_before_at: 9 });
  };
  expect((await waits())?.not_before_at).toBe(9);
  const failed = await moveStep(world.store, { ...try_, round: 2, to: 'failed', outcome: 'lost' });
  expect(failed).toMatchObject({ state: 'failed', not_before_at: null });
  const other = await storePlan(world.store, PLAN, world.clock.now());
  await start(world, other.id);
  await retryStep(world.store, { ...try_, plan_id: other.id, round: 1, outcome: 'lost', not_before_at: 9 });
  await cancelPlan(world.store, { id: other.id, reason: 'x', now: 6 });
  expect((await rowsOf(world.store, other.id)).map(({ not_before_at }) => not_before_at)).toEqual([null, null]);
});
