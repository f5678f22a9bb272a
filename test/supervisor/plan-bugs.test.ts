import { expect, test } from 'bun:test';
import { getPlan, movePlan } from '../../src/store/plan.ts';
import { cancelPlan, sessionsToStop } from '../../src/store/plan-step.ts';
import type { Store } from '../../src/store/store.ts';
import { PlanDesk } from '../../src/supervisor/plans.ts';
import { newRepository } from '../git/plain.ts';
import { sessionsOf, statesOf, stepsOf, storePlanAt } from '../plan/run-field.ts';
import { type TestStore, testStore } from '../support/store.ts';

function deskOf(world: TestStore, store: Store = world.store) {
  const log: string[] = [];
  const desk = new PlanDesk({
    ...{ deps: { ...world.deps, store }, begin: () => undefined, holder: 'test', ring: () => undefined },
    ...{ log: (line) => void log.push(line), stop: new AbortController().signal },
  });
  return { log, look: () => desk.look(world.clock.now()) };
}

const TWO = 'name: n\nsteps:\n  - {id: a, task: t, budget: {usd: 1}}\n  - {id: b, task: u}\n';

test('a bug in how a step is started is the failure of this step alone', async () => {
  const world = await testStore();
  const plan = await storePlanAt(world, newRepository(), TWO);
  // No check of a file lets this through: an amount that the table refuses.
  await world.store.write((tx) =>
    tx.run(`UPDATE plan_steps SET spec_json = json_set(spec_json, '$.budget.cost_micros', 0) WHERE step_id = 'a'`),
  );
  await deskOf(world).look();
  expect(await statesOf(world, plan)).toEqual({ a: 'failed', b: 'running' });
  expect((await stepsOf(world, plan)).a?.reason).toMatch(/^internal: .*constraint/i);
});

/** A store in which this plan can be read by no statement with these words. */
function broken(store: Store, id: string, words: string): Store {
  return new Proxy(store, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== 'function') return value;
      if (key !== 'read') return value.bind(target);
      return (work: Parameters<Store['read']>[0]) =>
        target.read((tx) =>
          work(
            new Proxy(tx, {
              get(inner, name) {
                const method: unknown = Reflect.get(inner, name);
                if (typeof method !== 'function') return method;
                return (sql: string, values?: { id?: string }) => {
                  if (sql.includes(words) && Object.values(values ?? {}).includes(id))
                    throw new TypeError('no such thing');
                  return method.call(inner, sql, values);
                };
              },
            }),
          ),
        );
    },
  });
}

test('a bug in a plan ends this plan whole and no other, and never the supervisor', async () => {
  const world = await testStore();
  const plan = await storePlanAt(
    world,
    newRepository(),
    'name: n\nconcurrency: 1\nsteps:\n  - {task: t}\n  - {task: u}\n',
  );
  await deskOf(world).look();
  const other = await storePlanAt(world, newRepository(), TWO);
  const { look, log } = deskOf(world, broken(world.store, plan.id, 'FROM plan_steps WHERE plan_id = :id ORDER BY'));
  await look();
  expect(log).toContain('plan n: internal: TypeError: no such thing');
  expect(await getPlan(world.store, plan.id)).toMatchObject({
    state: 'failed',
    reason: expect.stringContaining('internal:'),
  });
  expect(await statesOf(world, plan)).toEqual({ 'step-1': 'cancelled', 'step-2': 'cancelled' });
  expect((await sessionsOf(world, plan)).map(({ state }) => state)).toEqual(['stopped']);
  expect(await statesOf(world, other)).toEqual({ a: 'running', b: 'running' });
  expect(await getPlan(world.store, plan.id)).toMatchObject({ reported_at: expect.any(Number) });
});

test('a report that a bug keeps from being written is tried once, and nobody ends because of it', async () => {
  const world = await testStore();
  const plan = await storePlanAt(world, newRepository(), TWO);
  const { look, log } = deskOf(world, broken(world.store, plan.run_id, 'FROM plans WHERE run_id = :run_id'));
  await cancelPlan(world.store, { id: plan.id, reason: 'x', now: 2 });
  await look();
  await cancelPlan(world.store, { id: (await storePlanAt(world, newRepository(), TWO)).id, reason: 'x', now: 2 });
  await look();
  const told = `${plan.id}: its report could not be written: TypeError: no such thing`;
  expect(log.filter((line) => line.startsWith(plan.id))).toEqual([told]);
});

test('sessions of a plan that a bug ended are found by whoever comes next; those of one that failed are not', async () => {
  const world = await testStore();
  const { store } = world;
  const plan = await storePlanAt(world, newRepository(), TWO);
  await deskOf(world).look();
  await cancelPlan(store, { id: plan.id, reason: 'internal: x', now: 2, as: 'failed' });
  const ids = (await sessionsOf(world, plan)).map(({ id }) => id);
  expect((await sessionsToStop(store)).sort()).toEqual(ids.sort());
  const other = await storePlanAt(world, newRepository(), TWO);
  await deskOf(world).look();
  await movePlan(store, { id: other.id, to: 'failed', reason: '1 failed', now: 3 });
  expect(await sessionsToStop(store)).toEqual([]);
});
