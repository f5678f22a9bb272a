import { expect, test } from 'bun:test';
import { AppError } from '../../src/model/error.ts';
import { newId } from '../../src/model/id.ts';
import { assignDispatch } from '../../src/store/assign.ts';
import { resumeSession, stopSession } from '../../src/store/control.ts';
import { newsFor, sendDigest } from '../../src/store/digest.ts';
import { insertDispatch, listDispatch, spawnDispatch } from '../../src/store/dispatch.ts';
import { haltAll, haltedSteps, liftHalt } from '../../src/store/halt.ts';
import { standingHalt } from '../../src/store/halted.ts';
import { insertSession } from '../../src/store/new-session.ts';
import { getPlan, movePlan } from '../../src/store/plan.ts';
import { cancelPlan, moveStep, startStep } from '../../src/store/plan-step.ts';
import { fireSchedule } from '../../src/store/schedule.ts';
import { getSession, listSessions, sessionByToken } from '../../src/store/session.ts';
import { mayAsk } from '../../src/store/triage.ts';
import { dispatchable, getTurn } from '../../src/store/turn.ts';
import { slingOf, storePlan } from '../support/plan.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const PLAN = `
name: night
steps:
  - {id: a, task: first}
  - {id: b, task: second}
`;

const halt = ({ store, clock }: TestStore, reason = 'runaway') =>
  haltAll(store, { by: 'operator', reason, now: clock.now() });
const lift = ({ store, clock }: TestStore) => liftHalt(store, { by: 'operator', now: clock.now() });
const live = async ({ store }: TestStore) =>
  (await listSessions(store, {})).filter(({ ended_at }) => ended_at === null).map(({ name }) => name);

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'done';
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}

test('one transaction stops whoever lives, voids every token, pauses every plan and says why (O-77)', async () => {
  const world = await testStore();
  const { store, clock } = world;
  const working = await seedSession(world);
  const { session: claimed } = await takeTurn(world, working.id);
  const queued = await seedSession(world, { parent_id: working.id, depth: 1 });
  const over = await seedSession(world);
  await stopSession(store, { session_id: over.id, actor: 'cli', reason: 'before', now: clock.now() });
  const going = await storePlan(store, PLAN, clock.now());
  const resting = await storePlan(store, PLAN.replace('night', 'day'), clock.now());
  await movePlan(store, { id: resting.id, to: 'paused', reason: 'mine', now: clock.now() });

  const done = await halt(world);
  expect(done).toMatchObject({ is_new: true, halt: { halted_by: 'operator', reason: 'runaway', lifted_at: null } });
  expect(done.stopped.map(({ row, prev, open_turn }) => [row.id, prev, row.state, open_turn]).sort()).toEqual(
    [
      [working.id, 'booting', 'stopped', 1],
      [queued.id, 'queued', 'stopped', null],
    ].sort(),
  );
  expect(done.plans.map(({ id }) => id)).toEqual([going.id]);
  expect(await live(world)).toEqual([]);
  expect(await sessionByToken(store, claimed.token_hash ?? '')).toBeNull();
  expect(await getTurn(store, working.id, 1)).toMatchObject({ end_cause: 'stop' });
  expect(await getSession(store, over.id)).toMatchObject({ end_reason: 'before' });
  expect(await getPlan(store, going.id)).toMatchObject({ state: 'paused', reason: 'halted: runaway' });

  // A second one holds what has come since; the first stands as it was.
  const late = await seedSession(world);
  const again = await halt(world, 'and again');
  expect([again.is_new, again.halt.reason, again.stopped.map(({ row }) => row.id)]).toEqual([
    false,
    'runaway',
    [late.id],
  ]);

  const lifted = await lift(world);
  expect(lifted).toMatchObject({
    halt: { lifted_by: 'operator' },
    plans: [{ id: going.id, state: 'active', reason: null }],
  });
  expect(lifted?.stopped.map(({ id }) => id).sort()).toEqual([working.id, queued.id, late.id].sort());
  expect(await getPlan(store, resting.id)).toMatchObject({ state: 'paused', reason: 'mine' });
  expect([await standingHalt(store), await lift(world)]).toEqual([null, null]);
  // The next one knows nothing of what this one took.
  expect((await halt(world)).plans.map(({ id }) => id)).toEqual([going.id]);
  expect((await lift(world))?.stopped).toEqual([]);
});

test('while it stands nothing is admitted but what a person slings: not by a session, a plan, a request, the watchdog (O-77)', async () => {
  const world = await testStore();
  const { store, clock } = world;
  const now = clock.now();
  const plan = await storePlan(store, PLAN, now);
  const request = await insertDispatch(
    store,
    {
      ...{ id: newId('request'), kind: 'standard', target_session_id: null, task: 't', target_url: null },
      ...{ priority: 'normal', harness: null, profile_name: null, worktree: null, project: 'farm' },
      ...{ task_group: 'g', repo_root: '/farm', working_dir: '/farm', source: 'cli', requester: null },
    },
    now,
  );
  const desks = { desk: '/patrol', other: '/triage' };
  const tell = async () => {
    const news = await newsFor(store, desks, now);
    return sendDigest(store, { desk: desks.desk, sling: slingOf('look', now), news, subject: 's', body: 'b', now });
  };
  const ask = () => mayAsk(store, { per_day: 9, pool: 'p', now });
  expect(await ask()).toBe(true);
  const ended = await seedSession(world);
  await halt(world);
  const bySession = { ...slingOf('more', now).brief, from_id: ended.id };
  expect(await codeOf(insertSession(store, { ...slingOf('more', now), brief: bySession }))).toBe('halted');
  const again = { session_id: ended.id, brief: bySession, interrupt_reason: 'x', always_brief: false, now };
  expect(await codeOf(resumeSession(store, again))).toBe('halted');
  const key = { plan_id: plan.id, step_id: 'a', round: 1, slot: 1 };
  expect(await startStep(store, { ...key, sling: slingOf('do', now), actor: 'supervisor', now })).toBeNull();
  expect(await spawnDispatch(store, { id: request.id, sling: slingOf('t', now), actor: 'supervisor', now })).toBeNull();
  const team = { lead_id: ended.id, task: 't', is_harness: () => true, max_delegates: 1, id: request.id, now };
  expect(await assignDispatch(store, { ...team, sling: slingOf('t', now), actor: 'supervisor' })).toBeNull();
  expect(await listDispatch(store, { limit: 9 })).toHaveLength(1);
  const decision = { schedule_id: 's', was: 1, next_run_at: 2, entries: [], release: null, replace: false };
  const due = { due_at: 1, until_at: 1, times: 1, state: 'fired' as const, reason: null };
  const fired = { decision: { ...decision, entries: [due] }, start: { session: slingOf('t', now) } };
  await store.write((tx) =>
    tx.run(`INSERT INTO schedules (id, name, cron, timezone, task, repo_root, working_dir, project, task_group, overlap,
      catch_up, catch_up_max, next_run_at, created_at, updated_at)
      VALUES ('s', 's', '* * * * *', 'UTC', 't', '/', '/', 'p', 'g', 'skip', 'none', 1, 1, 1, 1)`),
  );
  expect(await fireSchedule(store, { ...fired, actor: 'supervisor', now })).toBeNull();
  expect(await codeOf(storePlan(store, PLAN, now))).toBe('halted');
  expect(await movePlan(store, { id: plan.id, to: 'active', reason: null, now })).toBeNull();
  expect([await ask(), await tell()]).toEqual([false, false]);
  // Not even of a plan that is active by a mistake of somebody.
  await store.write((tx) => tx.run("UPDATE plans SET state = 'active'"));
  expect(await startStep(store, { ...key, sling: slingOf('do', now), actor: 'supervisor', now })).toBeNull();
  expect(await live(world)).toEqual([]);

  const own = await insertSession(store, slingOf('a person says so', now));
  expect(await live(world)).toEqual([own.name]);
  expect((await takeTurn(world, own.id)).turn.turn).toBe(1);
  await lift(world);
  expect([await ask(), await tell()]).toEqual([true, true]);
});

test('a turn that failed is not tried again while everything is halted, and then is (O-77)', async () => {
  const world = await testStore();
  const { store, clock } = world;
  await halt(world);
  const row = await seedSession(world);
  const claim = await takeTurn(world, row.id);
  await endTurn(world, claim, { ok: false });
  clock.advance(3_600_000);
  expect(await getSession(store, row.id)).toMatchObject({ attempt: 1, ended_at: null });
  expect(await dispatchable(store, clock.now(), 9)).toEqual([]);
  await expect(takeTurn(world, row.id)).rejects.toThrow('no turn to claim');
  await lift(world);
  expect(await dispatchable(store, clock.now(), 9)).toEqual([row.id]);
  expect((await takeTurn(world, row.id)).turn.turn).toBe(2);
});

test('with the end of a halt go on the sessions of open steps that it stopped, and no others (O-77)', async () => {
  const world = await testStore();
  const { store, clock } = world;
  const now = clock.now();
  const [plan, gone] = [await storePlan(store, PLAN, now), await storePlan(store, PLAN.replace('night', 'gone'), now)];
  const start = async (plan_id: string, step_id: string) => {
    const key = { plan_id, step_id, round: 1, slot: 1 };
    const row = await startStep(store, { ...key, sling: slingOf('do it', now), actor: 'supervisor', now });
    if (row === null) throw new Error('not started');
    return row.id;
  };
  const [a, b] = [await start(plan.id, 'a'), await start(plan.id, 'b')];
  await start(gone.id, 'a');
  const held = await storePlan(store, PLAN.replace('night', 'held'), now);
  const [c, done] = [await start(held.id, 'a'), await start(held.id, 'b')];
  await moveStep(store, { plan_id: held.id, step_id: 'b', round: 1, to: 'done', session_id: done, now });
  await movePlan(store, { id: held.id, to: 'paused', reason: 'a person, before', now });
  const back = await storePlan(store, PLAN.replace('night', 'back'), now);
  const d = await start(back.id, 'a');
  await stopSession(store, { session_id: b, actor: 'cli', reason: 'a person, before', now });
  await seedSession(world);
  await halt(world);
  await cancelPlan(store, { id: gone.id, reason: 'enough', now });
  const brief = slingOf('go on', now).brief;
  await resumeSession(store, { session_id: d, brief, interrupt_reason: 'x', always_brief: false, now });
  expect((await haltedSteps(store)).sort()).toEqual([a, c].sort());
});

test('a claim is never between: whoever has it when everything is halted is stopped (I2, O-77)', async () => {
  const world = await testStore();
  const other = await world.second();
  const rows = await Promise.all(Array.from({ length: 20 }, () => seedSession(world)));
  const claims = rows.map(({ id }) => takeTurn(world, id).catch(() => null));
  const slings = Array.from({ length: 20 }, () =>
    insertSession(other, { ...slingOf('more', 1), brief: { ...slingOf('more', 1).brief, from_id: rows[0]?.id ?? '' } }),
  ).map(codeOf);
  await halt(world);
  await Promise.all(claims);
  const codes = new Set(await Promise.all(slings));
  expect([...codes].every((code) => ['done', 'halted', 'store_busy'].includes(code))).toBe(true);
  expect(await live(world)).toEqual([]);
});
