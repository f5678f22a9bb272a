import { expect, test } from 'bun:test';
import { resume } from '../../src/session/control.ts';
import { callerOf } from '../../src/session/identity.ts';
import { getPlan } from '../../src/store/plan.ts';
import { getSession } from '../../src/store/session.ts';
import { newRepository } from '../git/plain.ts';
import { testStore } from '../support/store.ts';
import { look, playOut, sessionsOf, statesOf, storePlanAt, work } from './run-field.ts';

const TEXT = `
name: night
concurrency: 2
steps:
  - {id: list, task: list}
  - {id: fix, task: "fix {{ foreach.item }}", foreach: {step: list, max: 9}, needs: list}
  - {id: sum, task: sum up, needs: fix}
  - {id: clean, task: clean up, needs: sum, when: any_failed}
`;

test('a plan that failed goes on from where a person takes it up, and does nothing twice (C-12, I9)', async () => {
  const world = await testStore();
  const plan = await storePlanAt(world, newRepository(), TEXT);
  const answer = (isFixed: boolean) => (task: string) =>
    task === 'list' ? '["a", "b"]' : task === 'fix b' && !isFixed ? null : 'ok';
  expect(await playOut(world, plan, answer(false))).toMatchObject({ state: 'failed' });
  expect(await statesOf(world, plan)).toMatchObject({
    'fix.1': 'done',
    'fix.2': 'failed',
    fix: 'failed',
    sum: 'skipped',
  });
  const before = await sessionsOf(world, plan);
  const failed = before.find(({ step_id }) => step_id === 'fix.2');
  const row = await getSession(world.store, failed?.id ?? '');
  if (row === null) throw new Error('it has a session');
  await resume(world.deps, await callerOf(world.deps), row, { text: 'once more' });
  await look(world, plan);
  expect(await statesOf(world, plan)).toMatchObject({
    'fix.1': 'done',
    'fix.2': 'running',
    fix: 'running',
    sum: 'pending',
  });
  await work(world, row);
  expect(await playOut(world, plan, answer(true))).toMatchObject({ state: 'completed', reason: null });
  expect(await statesOf(world, plan)).toMatchObject({ 'fix.2': 'done', fix: 'done', sum: 'done', clean: 'done' });
  const after = await sessionsOf(world, plan);
  expect(after.map(({ step_id, round }) => `${step_id} ${round}`).sort()).toEqual([
    ...['clean 1', 'fix.1 1', 'fix.2 1', 'list 1', 'sum 1'],
  ]);
  expect(await getPlan(world.store, plan.id)).toMatchObject({ stopping: null, reported_at: null });
});
