import { expect, test } from 'bun:test';
import { pastSessions } from '../../src/store/history.ts';
import { moveStep, startStep } from '../../src/store/plan-step.ts';
import { slingOf, storePlan } from '../support/plan.ts';
import type { TestStore } from '../support/store.ts';
import { endTurn, seedSession, takeTurn, testStore } from '../support/store.ts';

/** Ends a session after one turn of `ms`. */
async function live(world: TestStore, id: string, ms: number, cost_micros: number | null): Promise<void> {
  const claim = await takeTurn(world, id);
  world.clock.advance(ms);
  await endTurn(world, claim);
  await world.store.write((tx) =>
    tx.run('UPDATE sessions SET cost_micros = :cost_micros WHERE id = :id', { id, cost_micros }),
  );
}

test('the past is what ended sessions cost, how long their turns took, and the step they were', async () => {
  const world = await testStore();
  const { store, clock } = world;
  const text = 'name: night\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: t, matrix: {os: [x, y]}}';
  const plan = await storePlan(store, text, clock.now());
  for (const [step_id, ms, cost] of [
    ['a', 1_000, 7],
    ['b.2', 5_000, null],
  ] as const) {
    const key = { plan_id: plan.id, step_id, round: 1, now: clock.now() };
    const session = await startStep(store, {
      ...key,
      slot: 1,
      sling: slingOf(step_id, clock.now()),
      actor: 'supervisor',
    });
    await live(world, session?.id ?? '', ms, cost);
    await moveStep(store, { ...key, to: 'done', session_id: session?.id ?? null });
  }
  const alone = await seedSession(world, { profile_name: 'cheap', role: 'scout' });
  // Waiting is not work: only the turn counts.
  clock.advance(60_000);
  await live(world, alone.id, 2_000, 9);
  const past = (await pastSessions(store)).sort((a, b) => a.took_ms - b.took_ms);
  expect(past.map(({ took_ms: _took, ...rest }) => rest)).toEqual([
    { plan_name: 'night', step_id: 'a', harness: 'rehearsal', profile_name: null, role: 'solo', cost_micros: 7 },
    { plan_name: null, step_id: null, harness: 'rehearsal', profile_name: 'cheap', role: 'scout', cost_micros: 9 },
    // Without the number of its repetition: the next one of them is like this one.
    { plan_name: 'night', step_id: 'b', harness: 'rehearsal', profile_name: null, role: 'solo', cost_micros: null },
  ]);
  expect(past.map(({ took_ms }) => Math.floor(took_ms / 1_000))).toEqual([1, 2, 5]);
});

test('who never began, has not ended, or was stopped by a person is no past; the newest 5,000 are enough', async () => {
  const world = await testStore();
  await seedSession(world, { name: 'queued' });
  const [running, stopped] = [
    await seedSession(world, { name: 'running' }),
    await seedSession(world, { name: 'stopped' }),
  ];
  await takeTurn(world, running.id);
  await live(world, stopped.id, 1_000, 1);
  await world.store.write((tx) => tx.run("UPDATE sessions SET state = 'stopped' WHERE id = :id", { id: stopped.id }));
  expect(await pastSessions(world.store)).toEqual([]);
  await world.store.write((tx) => {
    for (let i = 0; i < 5_010; i++)
      tx.run(
        `INSERT INTO sessions (id, name, role, harness, task, project, task_group, repo_root, working_dir, state, end_reason,
           turn, depth, pool, cost_micros, created_at, updated_at, ended_at)
         VALUES (:id, :id, 'solo', 'rehearsal', 't', 'p', 'g', '/', '/', 'completed', 'ok', 1, 0, 'p', :i, :i, :i, :i)`,
        { id: `agent-${i}`, i },
      );
  });
  const past = await pastSessions(world.store);
  expect(past).toHaveLength(5_000);
  expect(Math.min(...past.map(({ cost_micros }) => cost_micros ?? 0))).toBe(10);
});
