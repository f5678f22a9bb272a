import { expect, test } from 'bun:test';
import { reportOf } from '../../src/plan/report.ts';
import { advancePlan } from '../../src/plan/run.ts';
import { newMemory } from '../../src/plan/scene.ts';
import { getPlan, listPlanLog } from '../../src/store/plan.ts';
import { setPool } from '../../src/store/pool.ts';
import { newRepository } from '../git/plain.ts';
import { testStore } from '../support/store.ts';
import { look, sessionsOf, statesOf, storePlanAt, workAll } from './run-field.ts';

const TEXT = 'name: n\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: t}\n  - {id: c, task: t, needs: a}\n';
const HOUR = 3_600_000;

async function made() {
  const world = await testStore();
  return { world, plan: await storePlanAt(world, newRepository(), TEXT) };
}

test('time in which a shut pool keeps steps from being started is lost to limits, once by the clock (CX-21)', async () => {
  const { world, plan } = await made();
  const { store, clock } = world;
  await setPool(store, 'rehearsal', { type: 'block', opens_at: clock.now() + 3 * HOUR, text: 'x' }, clock.now());
  await store.write((tx) => tx.run("UPDATE pools SET reason = 'usage_limit'"));
  const memory = newMemory();
  for (let looks = 0; looks < 3; looks++) await advancePlan(world.deps, plan.id, clock.now(), memory);
  expect(await sessionsOf(world, plan)).toEqual([]);
  clock.advance(2 * HOUR);
  // Who comes after a crash remembers nothing, and notes nothing twice.
  await look(world, plan);
  const hours = (ms: number) => Math.round((ms / HOUR) * 100) / 100;
  const lost = async () =>
    (await reportOf(store, plan.run_id, clock.now()))?.lost_to_limits.map(
      ({ pool, sessions, times, session_ms, wall_ms }) => [pool, sessions, times, hours(session_ms), hours(wall_ms)],
    );
  expect(await lost()).toEqual([['rehearsal', 0, 1, 2, 2]]);
  clock.advance(HOUR);
  await setPool(store, 'rehearsal', { type: 'release' }, clock.now());
  await look(world, plan);
  expect(await statesOf(world, plan)).toEqual({ a: 'running', b: 'running', c: 'pending' });
  clock.advance(HOUR);
  await workAll(world, plan, () => 'ok');
  await look(world, plan);
  expect(await lost()).toEqual([['rehearsal', 0, 1, 3, 3]]);
  const events = (await listPlanLog(store, plan.id)).filter(({ event }) => event.startsWith('pool_'));
  expect(events.map(({ event, detail }) => [event, detail])).toEqual([
    ['pool_shut', 'rehearsal'],
    ['pool_open', 'rehearsal'],
  ]);
  expect(await getPlan(store, plan.id)).toMatchObject({ state: 'active' });
});

test('a pool that a person holds shut is no limit', async () => {
  const { world, plan } = await made();
  const { store, clock } = world;
  await setPool(store, 'rehearsal', { type: 'block', opens_at: null, text: 'lunch' }, clock.now());
  await look(world, plan);
  clock.advance(HOUR);
  expect((await reportOf(store, plan.run_id, clock.now()))?.lost_to_limits).toEqual([]);
});
