import { expect, test } from 'bun:test';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { buildReport } from '../../src/model/report-build.ts';
import type { ReportRows } from '../../src/model/report-rows.ts';
import { setBudgetIn } from '../../src/store/budget.ts';
import { insertMail } from '../../src/store/mail.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { movePlan } from '../../src/store/plan.ts';
import { reportRows, tellReport } from '../../src/store/report.ts';
import { ensureRun } from '../../src/store/run.ts';
import { appendVerdict } from '../../src/store/verdict.ts';
import { storePlan, turnPlan } from '../support/plan.ts';
import { endTurn, feedTurn, seedSession, type TestStore, takeTurn, testStore, verdictOf } from '../support/store.ts';

async function rowsOf(world: TestStore, run_id: string): Promise<ReportRows> {
  const rows = await reportRows(world.store, run_id);
  if (rows === null) throw new Error(`no run ${run_id}`);
  return rows;
}

const TOKENS = { input_tokens: 10, output_tokens: 5, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 };
const USED: HarnessEvent = { type: 'usage', mode: 'add', tokens: TOKENS };

const NIGHT = `
name: night
defaults: {merge: none}
steps:
  - {id: a, task: first, harness: rehearsal}
  - {id: b, task: second, harness: rehearsal, retry: {max: 1, on: [failed]}}
  - {id: c, task: third, harness: rehearsal, needs: [b]}
`;

test('a plan carried out for real: its report says what happened, and the sums are those of its turns', async () => {
  const world = await testStore();
  const now = world.clock.now();
  const plan = await storePlan(world.store, NIGHT, now);
  await turnPlan(world.store, plan.id, now);
  const sessions = (await rowsOf(world, plan.run_id)).sessions;
  expect(sessions.length).toBe(2);
  const a = sessions.find(({ task }) => task === 'first');
  const b = sessions.find(({ task }) => task === 'second');
  const claim = await takeTurn(world, a?.id ?? '');
  await feedTurn(world, claim, [USED, { type: 'cost', mode: 'add', cost_micros: 1_000 }]);
  await endTurn(world, claim);
  const crash = await takeTurn(world, b?.id ?? '');
  await feedTurn(world, crash, [USED]);
  await endTurn(world, crash, { ok: false, settle: { max_attempts: 1 } });
  await turnPlan(world.store, plan.id, now + 10);
  await turnPlan(world.store, plan.id, now + 10_000);
  const second = (await rowsOf(world, plan.run_id)).sessions.find(({ id, task }) => task === 'second' && id !== b?.id);
  const last = await takeTurn(world, second?.id ?? '');
  await endTurn(world, last, { ok: false, settle: { max_attempts: 1 } });
  await turnPlan(world.store, plan.id, now + 20_000);
  await turnPlan(world.store, plan.id, now + 20_001);
  const report = buildReport(await rowsOf(world, plan.run_id), now + 30_000);
  expect(report.headline).toBe('FAILED: 1 of 3 steps failed, 1 done, 1 skipped.');
  expect(report.plan).toMatchObject({ id: plan.id, state: 'failed' });
  expect(report.steps.map(({ id, state, outcome, tries }) => [id, state, outcome, tries])).toEqual([
    ['a', 'done', null, 1],
    ['b', 'failed', 'failed', 2],
    ['c', 'skipped', 'need_failed', 0],
  ]);
  expect(report.spent).toMatchObject({ cost_micros: 1_000, unpriced_turns: 1, unpriced_tokens: 15, turns: 3 });
  // As the stream says; the crash of the second try came before that.
  expect(report.spent_by_model.map(({ model, turns }) => [model, turns])).toEqual([['m', 3]]);
  expect(report.retries).toMatchObject([{ step_id: 'b', round: 2, cause: 'failed' }]);
  expect(report.bad_turns).toEqual([{ outcome: 'crashed', turns: 2 }]);
  expect(report.timeline.map(({ step_id }) => step_id).sort()).toEqual(['a', 'b', 'b']);
  expect(report.timeline.every(({ spans }) => spans.every(({ state }) => state !== 'parked'))).toBe(true);
});

test('only what belongs to the run is in it', async () => {
  const world = await testStore();
  const now = world.clock.now();
  const [run_id, other] = await world.store.write((tx) => [ensureRun(tx, 'mine', now), ensureRun(tx, 'theirs', now)]);
  const mine = await seedSession(world, { run_id: run_id ?? '', name: 'mine' });
  const theirs = await seedSession(world, { run_id: other ?? '', name: 'theirs' });
  for (const session of [mine, theirs]) {
    const { turn } = await takeTurn(world, session.id);
    const key = { session_id: session.id, turn: turn.turn };
    await world.store.write((tx) => {
      appendVerdict(tx, verdictOf(key, { act: 'terminate', evidence: session.name }));
      appendVerdict(tx, verdictOf(key, { act: 'note' }));
      setBudgetIn(tx, { scope: 'session', key: session.id, cost_micros: 1, tokens: null, now });
      tx.run(
        `INSERT INTO gate_runs (session_id, turn, round, verdict, command, reason, output, started_at, ended_at)
         VALUES (:id, 1, 1, 'red', 'npm test', 'exit code 1', :name, 1, 2)`,
        { id: session.id, name: session.name },
      );
      tx.run(
        `INSERT INTO merges (session_id, repo_root, branch, target, head, base_head, started_at, ended_at, outcome, reason)
         VALUES (:id, '/farm', :name, 'main', 'a', 'b', 1, 2, 'conflict', 'c'), (:id, '/farm', 'x', 'main', 'a', 'b', 1, 2, 'failed', 'rebase')`,
        { id: session.id, name: session.name },
      );
      tx.run(
        `INSERT INTO incidents (id, key, repo_root, kind, path, first_session_id, second_session_id, strategy, summary, created_at, updated_at)
         VALUES (:incident, :name, '/farm', 'overlap', 'a', :id, 'zz', 'escalate', 's', 1, 1)`,
        { incident: `incident-${session.name}`, id: session.id, name: session.name },
      );
    });
  }
  const rows = await rowsOf(world, run_id ?? '');
  expect(rows.plan).toBe(null);
  expect(rows.sessions.map(({ name }) => name)).toEqual(['mine']);
  expect(rows.turns.map(({ session_id }) => session_id)).toEqual([mine.id]);
  expect(rows.states.map(({ to_state }) => to_state)).toEqual(['queued', 'booting']);
  expect(rows.gates.map(({ output }) => output)).toEqual(['mine']);
  expect(rows.merges.map(({ branch }) => branch)).toEqual(['mine']);
  expect(rows.incidents.map(({ id }) => id)).toEqual(['incident-mine']);
  expect(rows.verdicts.map(({ act, evidence }) => [act, evidence])).toEqual([['terminate', 'mine']]);
  expect(rows.budgets.map(({ key }) => key)).toEqual([mine.id]);
  expect(await reportRows(world.store, 'run-unheard')).toBe(null);
});

test('questions: those to the operator that nobody has answered', async () => {
  const world = await testStore();
  const run_id = await world.store.write((tx) => ensureRun(tx, 'mine', world.clock.now()));
  const session = await seedSession(world, { run_id, name: 'ewe' });
  const ask = (type: 'question' | 'status', to_name = 'operator') =>
    world.store.write((tx) =>
      insertMail(
        tx,
        {
          ...{ from_name: 'ewe', from_id: session.id, to_name, to_id: null, type, priority: 'normal' },
          ...{ subject: type, body: '', payload_json: null },
        },
        1,
      ),
    );
  const first = await ask('question');
  await ask('status');
  const second = await ask('question');
  expect((await rowsOf(world, run_id)).questions.map(({ id }) => id)).toEqual([first.id, second.id]);
  await world.store.write((tx) =>
    insertMail(
      tx,
      {
        ...{ from_name: 'operator', from_id: null, to_name: 'ewe', to_id: session.id, type: 'answer' },
        ...{ priority: 'normal', subject: 's', body: 'b', payload_json: null, reply_to: first },
      },
      2,
    ),
  );
  expect((await rowsOf(world, run_id)).questions.map(({ id }) => id)).toEqual([second.id]);
});

test('missed times: those of its own schedule since it fired the time before, and none that came later', async () => {
  const world = await testStore();
  const plan = await storePlan(world.store, NIGHT, 1_000);
  await movePlan(world.store, { id: plan.id, to: 'failed', reason: null, now: 9_000 });
  const row = (schedule: string, due: number, state: string, plan_id: string | null, at = due) =>
    world.store.write((tx) =>
      tx.run(
        `INSERT INTO schedule_runs (schedule_id, due_at, until_at, times, state, reason, plan_id, at)
         VALUES (:schedule, :due, :due, 1, :state, 'r', :plan_id, :at)`,
        { schedule, due, state, plan_id, at },
      ),
    );
  await row('s', 100, 'missed', null);
  await row('s', 200, 'fired', 'plan-before');
  await row('s', 300, 'missed', null);
  await row('s', 400, 'skipped', null);
  await row('s', 500, 'waiting', null);
  await row('s', 600, 'fired', plan.id);
  await row('s', 700, 'skipped', null);
  await row('s', 99_999, 'skipped', null);
  await row('other', 350, 'missed', null);
  const { schedule_runs } = await rowsOf(world, plan.run_id);
  expect(schedule_runs.map(({ due_at, state, schedule_name }) => [due_at, state, schedule_name])).toEqual([
    [300, 'missed', null],
    [400, 'skipped', null],
    [700, 'skipped', null],
  ]);
});

test('the note and the mail are one: told once, and only of what has ended', async () => {
  const world = await testStore();
  const plan = await storePlan(world.store, NIGHT, 1_000);
  const mail = { type: 'status', priority: 'normal', subject: 's', body: 'b', payload_json: null } as const;
  const tell = (now: number) => tellReport(world.store, { plan_id: plan.id, mail, now });
  expect(await tell(2_000)).toBe(false);
  await movePlan(world.store, { id: plan.id, to: 'completed', reason: null, now: 3_000 });
  const broken = { ...mail, type: 'nonsense' as 'status' };
  await expect(tellReport(world.store, { plan_id: plan.id, mail: broken, now: 3_500 })).rejects.toThrow();
  expect([await tell(4_000), await tell(5_000)]).toEqual([true, false]);
  expect((await listMail(world.store, { to_id: null })).map(({ created_at }) => created_at)).toEqual([4_000]);
});
