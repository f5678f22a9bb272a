import { expect, test } from 'bun:test';
import { AppError } from '../../src/model/error.ts';
import { pauseSession } from '../../src/store/control.ts';
import { getPlan, movePlan } from '../../src/store/plan.ts';
import { planPulse } from '../../src/store/plan-pulse.ts';
import { cancelPlan } from '../../src/store/plan-step.ts';
import { getSession } from '../../src/store/session.ts';
import type { Store } from '../../src/store/store.ts';
import { PlanDesk } from '../../src/supervisor/plans.ts';
import { newRepository } from '../git/plain.ts';
import { sessionsOf, statesOf, storePlanAt, workAll } from '../plan/run-field.ts';
import { endTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

const ONE = 'name: n\nsteps:\n  - {id: a, task: t}\n';

/** A desk whose background work is kept until it is asked for, and a store that counts its whole looks at plans. */
function deskOf(world: TestStore) {
  const begun: { key: string; work: () => Promise<void> }[] = [];
  const told = { log: [] as string[], rings: 0, views: 0 };
  const store = new Proxy(world.store, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== 'function') return value;
      if (key !== 'read') return value.bind(target);
      return (work: Parameters<Store['read']>[0]) => {
        if (String(work).includes('lookAgain(tx, ')) told.views += 1;
        return target.read(work);
      };
    },
  });
  const desk = new PlanDesk({
    ...{ deps: { ...world.deps, store }, begin: (key, work) => void begun.push({ key, work }), holder: 'test' },
    ...{ log: (line) => void told.log.push(line), stop: new AbortController().signal },
    ring: () => {
      told.rings += 1;
    },
  });
  return { desk, begun, told, look: () => desk.look(world.clock.now()) };
}

async function made(text = ONE) {
  const world = await testStore();
  const plan = await storePlanAt(world, newRepository(), text);
  return { world, plan, ...deskOf(world) };
}

test('a plan is carried to its end and reported once; while nothing happens it is not looked at (I17)', async () => {
  const { world, plan, look, told, desk } = await made(`${ONE}  - {id: b, task: "{{ steps.a.output }}", needs: a}\n`);
  await look();
  expect(await statesOf(world, plan)).toEqual({ a: 'running', b: 'pending' });
  const views = told.views;
  expect(views).toBeGreaterThan(0);
  for (let i = 0; i < 5; i += 1) await look();
  // A turn that begins, and what it says, is nothing to a plan.
  const claim = await takeTurn(world, (await sessionsOf(world, plan))[0]?.id ?? '');
  await look();
  expect([told.views, desk.wake_at]).toEqual([views, null]);
  await endTurn(world, claim);
  await look();
  expect(await statesOf(world, plan)).toEqual({ a: 'done', b: 'running' });
  await workAll(world, plan, () => 'x');
  await look();
  expect(await getPlan(world.store, plan.id)).toMatchObject({ state: 'completed', reported_at: expect.any(Number) });
  await look();
  expect(told.log).toEqual([`${plan.id}: its report is written`]);
});

test('a look comes by itself when an instant has come, when it is long ago, and when the clock went back', async () => {
  const { world, plan, look, told, desk } = await made(
    'name: n\nsteps:\n  - {id: a, task: t, retry: {max: 2}}\n  - {id: b, task: t}\n',
  );
  await look();
  const [first] = await sessionsOf(world, plan);
  await endTurn(world, await takeTurn(world, first?.id ?? ''), { ok: false, settle: { max_attempts: 1 } });
  await look();
  expect(desk.wake_at).toBeGreaterThan(world.clock.now());
  let views = told.views;
  const looked = async () => {
    await look();
    const hasLooked = told.views > views;
    views = told.views;
    return hasLooked;
  };
  expect(await looked()).toBe(false);
  world.clock.advance(5_001);
  expect(await looked()).toBe(true);
  expect((await sessionsOf(world, plan)).map(({ step_id, round }) => [step_id, round])).toEqual([
    ['a', 1],
    ['a', 2],
    ['b', 1],
  ]);
  expect(await looked()).toBe(false);
  world.clock.advance(31_000);
  expect(await looked()).toBe(true);
  world.clock.advance(-20_000);
  expect(await looked()).toBe(true);
});

test('the sessions of a plan that was cancelled are stopped, also when who cancelled it or the supervisor died', async () => {
  const { world, plan, look } = await made();
  await look();
  const [slung] = await sessionsOf(world, plan);
  await cancelPlan(world.store, { id: plan.id, reason: 'enough', now: world.clock.now() });
  // A supervisor that comes after it knows the plan from the database alone.
  await deskOf(world).look();
  expect(await getSession(world.store, slung?.id ?? '')).toMatchObject({
    ...{ state: 'stopped', end_reason: 'its plan was cancelled' },
  });
  const other = await storePlanAt(world, newRepository(), ONE);
  await look();
  await cancelPlan(world.store, { id: other.id, reason: 'enough', now: world.clock.now() });
  await look();
  expect((await sessionsOf(world, other)).map(({ state }) => state)).toEqual(['stopped']);
});

test('a session that nobody waits for any more is stopped; what takes its time is begun once', async () => {
  const { world, plan, look, begun, told } = await made(
    'name: n\nsteps:\n  - {id: a, task: t, retry: {max: 1}}\n  - {id: m, task: t, worktree: true, merge: queue}\n',
  );
  await look();
  const [a, m] = await sessionsOf(world, plan);
  await pauseSession(world.store, { session_id: a?.id ?? '', reason: 'red', now: world.clock.now() });
  await world.store.write((tx) => tx.run("UPDATE sessions SET parked_reason = 'gate' WHERE name = 'a'"));
  await endTurn(world, await takeTurn(world, m?.id ?? ''));
  await look();
  expect(await getSession(world.store, a?.id ?? '')).toMatchObject({ state: 'stopped' });
  expect(await statesOf(world, plan)).toEqual({ a: 'pending', m: 'merging' });
  world.clock.advance(31_000);
  await look();
  expect(begun.map(({ key }) => key)).toEqual([`merge ${plan.id} m 1`]);
  const rings = told.rings;
  await begun[0]?.work();
  expect(told.rings).toBe(rings + 1);
  // It had no worktree: that was refused, and is not begun again.
  await look();
  expect(await statesOf(world, plan)).toEqual({ a: 'running', m: 'parked' });
  expect(begun).toHaveLength(1);
  // Another supervisor finds a merge that was under way.
  await world.store.write((tx) => tx.run("UPDATE plan_steps SET state = 'merging' WHERE step_id = 'm'"));
  const next = deskOf(world);
  await next.look();
  expect(next.begun.map(({ key }) => key)).toEqual([`merge ${plan.id} m 1`]);
});

test('a session that was slung and has not begun when its plan stops early is stopped, whoever was killed (C-12)', async () => {
  const text =
    'name: n\nstop_when: {failed_steps: 1}\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: t}\n  - {id: c, task: t}\n';
  const { world, plan, look } = await made(text);
  await look();
  const [a, b, c] = await sessionsOf(world, plan);
  await endTurn(world, await takeTurn(world, a?.id ?? ''), { ok: false, settle: { max_attempts: 1 } });
  const begun = await takeTurn(world, c?.id ?? '');
  await look();
  expect(await statesOf(world, plan)).toEqual({ a: 'failed', b: 'skipped', c: 'running' });
  expect(await getSession(world.store, b?.id ?? '')).toMatchObject({ state: 'stopped', turn: 0 });
  await endTurn(world, begun);
  await look();
  expect(await statesOf(world, plan)).toMatchObject({ c: 'done' });
  // Whoever wrote the end of the plan died before it stopped anybody.
  await world.store.write((tx) =>
    tx.run("UPDATE sessions SET state = 'queued', ended_at = NULL WHERE id = :id", { id: b?.id ?? '' }),
  );
  await deskOf(world).look();
  expect(await getSession(world.store, b?.id ?? '')).toMatchObject({ state: 'stopped', turn: 0 });
});

test('a failure that passes is tried again later and keeps no other plan from going on', async () => {
  const { world, plan } = await made();
  const other = await storePlanAt(world, newRepository(), ONE);
  const config_for = async (root: string) => {
    if (root === plan.repo_root) throw new AppError('parked', 'store_busy', 'x');
    return world.deps.config_for(root);
  };
  const busy = { ...world.deps, config_for };
  const { desk, told } = deskOf({ ...world, deps: busy });
  await desk.look(world.clock.now());
  expect([await statesOf(world, plan), await statesOf(world, other)]).toEqual([{ a: 'pending' }, { a: 'running' }]);
  expect(told.log).toEqual(['plan n: store_busy: x']);
  expect(desk.wake_at).toBeGreaterThan(world.clock.now());
});

test('the pulse of plans shows what they act upon, and nothing else', async () => {
  const { world, plan } = await made();
  const { store } = world;
  let before = await planPulse(store);
  const changed = async (work: () => Promise<unknown>) => {
    await work();
    const after = await planPulse(store);
    const isOther = after !== before;
    before = after;
    return isOther;
  };
  const { look } = deskOf(world);
  expect(await changed(look)).toBe(false);
  const [slung] = await sessionsOf(world, plan);
  const session_id = slung?.id ?? '';
  const claim = await takeTurn(world, session_id);
  expect(await changed(async () => claim)).toBe(false);
  expect(await changed(() => endTurn(world, claim))).toBe(true);
  expect(await changed(() => movePlan(store, { id: plan.id, to: 'paused', reason: null, now: 1 }))).toBe(true);
  const pool = "INSERT INTO pools (name, state, blocked_at, opens_at, updated_at) VALUES ('p', 'blocked', 1, 2, 1)";
  expect(await changed(() => store.write((tx) => tx.run(pool)))).toBe(true);
  const merge = `INSERT INTO merges (session_id, repo_root, branch, target, head, base_head, started_at) VALUES ('${session_id}', '/', 'b', 'm', 'h', 'b', 1)`;
  expect(await changed(() => store.write((tx) => tx.run(merge)))).toBe(true);
  const end = "UPDATE merges SET ended_at = 2, outcome = 'merged'";
  expect(await changed(() => store.write((tx) => tx.run(end)))).toBe(true);
});
