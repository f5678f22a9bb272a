import { expect, test } from 'bun:test';
import { planLines } from '../../src/cli/plan-lines.ts';
import { advance } from '../../src/model/plan-advance.ts';
import { factsOf } from '../../src/model/plan-view.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { startStep } from '../../src/store/plan-step.ts';
import { planView } from '../../src/store/plan-view.ts';
import type { Store } from '../../src/store/store.ts';
import { slingOf, storePlan } from '../support/plan.ts';
import { seedSession, testStore } from '../support/store.ts';

const PLAN = `
name: night
concurrency: 1
stop_when: {usd: 0.05}
steps: [{id: a, task: first}, {id: b, task: second}]
`;
const spend = (store: Store, { id }: Pick<SessionRow, 'id'>, cost_micros: number | null, tokens: number) =>
  store.write((tx) =>
    tx.run('UPDATE sessions SET cost_micros = :cost_micros, input_tokens = :tokens WHERE id = :id', {
      ...{ id, cost_micros, tokens },
    }),
  );

test("a plan's money is what its whole run has spent, the children of its sessions included (C-12)", async () => {
  const world = await testStore();
  const now = world.clock.now();
  const plan = await storePlan(world.store, PLAN, now);
  const seen = async () => {
    const view = await planView(world.store, plan.id);
    if (view === null) throw new Error('no plan');
    const { decisions } = advance(factsOf(view, new Map(), null, now), now);
    return { decisions, lines: planLines(view, now) };
  };
  const key = { plan_id: plan.id, step_id: 'a', round: 1, slot: 1 };
  const own = await startStep(world.store, { ...key, sling: slingOf('x', now), actor: 'supervisor', now });
  const child = await seedSession(world, { run_id: plan.run_id, parent_id: own?.id ?? '', depth: 1 });
  await spend(world.store, await seedSession(world), 9_000_000, 9);
  expect((await seen()).lines).toMatchObject({ cost_micros: null, tokens: 0 });
  await spend(world.store, { id: own?.id ?? '' }, 20_000, 2);
  expect((await seen()).decisions).toEqual([]);
  await spend(world.store, child, 30_000, 3);
  const { decisions, lines } = await seen();
  expect(decisions).toContainEqual({ do: 'stop', cause: 'usd' });
  expect(lines).toMatchObject({ cost_micros: 50_000, tokens: 5 });
});
