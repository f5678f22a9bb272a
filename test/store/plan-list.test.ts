import { expect, test } from 'bun:test';
import type { MailRow } from '../../src/model/mail.ts';
import { insertMail } from '../../src/store/mail.ts';
import { movePlan } from '../../src/store/plan.ts';
import { listPlanSummaries, liveSessions, planLogAfter } from '../../src/store/plan-list.ts';
import { moveStep, startStep } from '../../src/store/plan-step.ts';
import { slingOf, storePlan } from '../support/plan.ts';
import { endTurn, takeTurn, testStore } from '../support/store.ts';

const TEXT = `name: night
steps:
  - {id: a, task: t}
  - {id: b, task: t, matrix: {os: [x, y]}}
  - {id: c, task: t, foreach: a}
`;

test('a list counts what is carried out: members instead of their group, a group that has none as one', async () => {
  const { store, clock } = await testStore();
  const old = await storePlan(store, TEXT.replace('night', 'old'), 1_000);
  await movePlan(store, { id: old.id, to: 'failed', reason: null, now: 2_000 });
  const plan = await storePlan(store, TEXT, 500);
  const key = { plan_id: plan.id, round: 1, now: clock.now() };
  const start = (step_id: string) =>
    startStep(store, { ...key, step_id, slot: 1, sling: slingOf(step_id, clock.now()), actor: 'supervisor' });
  await start('a');
  await moveStep(store, { ...key, step_id: 'a', to: 'done' });
  const running = await start('b.1');
  await start('b.2');
  await moveStep(store, { ...key, step_id: 'b.2', to: 'failed', outcome: 'lost' });
  await store.write((tx) => tx.run('UPDATE sessions SET cost_micros = 40 WHERE id = :id', { id: running?.id ?? '' }));
  const list = await listPlanSummaries(store, { repo_root: null, limit: 10 });
  expect(list.map(({ name }) => name)).toEqual(['old', 'night']);
  expect(list[1]).toMatchObject({ step_count: 4, done_count: 1, failed_count: 1, running_count: 1, cost_micros: 40 });
  expect(list[0]).toMatchObject({ step_count: 4, done_count: 0, cost_micros: null, settings_json: expect.any(String) });
  // With room for one, the one that has not ended is told, however old it is.
  expect((await listPlanSummaries(store, { repo_root: null, limit: 1 })).map(({ name }) => name)).toEqual(['night']);
  expect(await listPlanSummaries(store, { repo_root: '/other', limit: 10 })).toEqual([]);
  expect(await listPlanSummaries(store, { repo_root: '/farm', limit: 10 })).toHaveLength(2);
});

test('the log is read on from where it was', async () => {
  const { store, clock } = await testStore();
  const plan = await storePlan(store, TEXT, clock.now());
  const [first] = await planLogAfter(store, plan.id, 0);
  expect(first).toMatchObject({ event: 'created', step_id: null });
  await movePlan(store, { id: plan.id, to: 'paused', reason: 'lunch', now: clock.now() });
  expect(await planLogAfter(store, plan.id, first?.seq ?? 0)).toMatchObject([{ event: 'paused', detail: 'lunch' }]);
});

test('a session asks as long as nobody has answered in that thread', async () => {
  const world = await testStore();
  const { store, clock } = world;
  const plan = await storePlan(store, TEXT, clock.now());
  const key = { plan_id: plan.id, step_id: 'a', round: 1, now: clock.now() };
  const row = await startStep(store, { ...key, slot: 1, sling: slingOf('t', clock.now()), actor: 'supervisor' });
  const id = row?.id ?? '';
  const mail = (from: string | null, to: string | null, type: 'question' | 'answer', reply_to?: MailRow) =>
    store.write((tx) =>
      insertMail(
        tx,
        {
          ...{ from_name: from ?? 'operator', from_id: from, to_name: to ?? 'operator', to_id: to, type },
          ...{ priority: 'normal', subject: 's', body: 'b', payload_json: null },
          ...(reply_to === undefined ? {} : { reply_to }),
        },
        clock.now(),
      ),
    );
  const claim = await takeTurn(world, id);
  const question = await mail(id, null, 'question');
  const live = () => liveSessions(store, plan.run_id);
  expect(await live()).toMatchObject([{ id, state: 'booting', step_id: 'a', is_asking: true }]);
  await endTurn(world, claim, { settle: { has_contract: true } });
  await store.write((tx) =>
    tx.run("UPDATE sessions SET state = 'idle', ended_at = NULL, next_turn_at = NULL WHERE id = :id", { id }),
  );
  expect(await live()).toMatchObject([{ id, state: 'idle', is_asking: true, next_turn_at: null, parent_id: null }]);
  await mail(null, id, 'answer', question);
  expect(await live()).toMatchObject([{ is_asking: false }]);
  await store.write((tx) =>
    tx.run("UPDATE sessions SET state = 'completed', end_reason = 'ok', ended_at = 1 WHERE id = :id", { id }),
  );
  expect(await live()).toEqual([]);
});
