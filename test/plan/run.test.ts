import { describe, expect, test } from 'bun:test';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '../../src/model/error.ts';
import { ANSWER_LIMIT, keptAnswer } from '../../src/model/harness.ts';
import { advancePlan } from '../../src/plan/run.ts';
import { pauseSession } from '../../src/store/control.ts';
import { getPlan, listPlanLog, movePlan } from '../../src/store/plan.ts';
import { cancelPlan } from '../../src/store/plan-step.ts';
import { getSession } from '../../src/store/session.ts';
import type { Store } from '../../src/store/store.ts';
import { newRepository } from '../git/plain.ts';
import { endTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { look, playOut, sessionsOf, statesOf, stepsOf, storePlanAt, work, workAll } from './run-field.ts';

async function made(text: string) {
  const world = await testStore();
  const repo = newRepository();
  return { world, repo, plan: await storePlanAt(world, repo, text) };
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

describe('what one step hands on to another (C-12)', () => {
  test('answers, files and inputs fill the holes of who needs them, as they are', async () => {
    const { world, repo, plan } = await made(`
name: night
steps:
  - {id: look, task: look around, outputs: {list: out/list.txt, said: answer}}
  - id: mend
    task: "mend {{ inputs.what }} for {{ steps.look.output }}"
    needs: look
    inputs: {what: "[{{ steps.look.outputs.list }}|{{ steps.look.outputs.said }}]"}
`);
    await look(world, plan);
    const [first] = await sessionsOf(world, plan);
    expect(await sessionsOf(world, plan)).toMatchObject([{ step_id: 'look', name: 'look', task: 'look around' }]);
    write(join(repo, 'out/list.txt'), 'a\nb {{ steps.mend.output }}\n');
    await work(world, first ?? { id: '' }, 'me {{ x }}');
    await look(world, plan);
    expect((await sessionsOf(world, plan))[1]).toMatchObject({
      ...{ step_id: 'mend', state: 'queued' },
      task: 'mend [a\nb {{ steps.mend.output }}\n|me {{ x }}] for me {{ x }}',
    });
    const { look: done } = await stepsOf(world, plan);
    expect(done).toMatchObject({ state: 'done', session_id: first?.id, reason: null });
    expect(JSON.parse(done?.outputs_json ?? '')).toEqual({
      list: 'a\nb {{ steps.mend.output }}\n',
      said: 'me {{ x }}',
    });
    expect(await playOut(world, plan, () => 'yes')).toMatchObject({ state: 'completed' });
  });

  const file =
    'name: n\nsteps:\n  - {id: a, task: t, outputs: {x: out.txt}}\n  - {id: b, task: "{{ steps.a.outputs.x }}", needs: a}\n';
  test.each<[string, (repo: string) => void, string]>([
    ['a file that is not there', () => undefined, 'the output x is missing: no file out.txt in'],
    ['a directory', (repo) => mkdirSync(join(repo, 'out.txt')), 'no regular file'],
    [
      'a file that is too large',
      (repo) => write(join(repo, 'out.txt'), 'x'.repeat(256 * 1024 + 1)),
      'it has 262145 bytes',
    ],
    [
      'a link that leads out',
      (repo) => {
        write(join(tempDir('secret'), 'key'), 'secret');
        symlinkSync('/etc/passwd', join(repo, 'out.txt'));
      },
      'lies outside of',
    ],
  ])('%s fails the step, and what needs it is not started', async (_what, prepare, reason) => {
    const { world, repo, plan } = await made(file);
    await look(world, plan);
    prepare(repo);
    await workAll(world, plan, () => 'done');
    await look(world, plan);
    const { a, b } = await stepsOf(world, plan);
    expect(a).toMatchObject({ state: 'failed', outcome: 'failed' });
    expect(a?.reason).toContain(reason);
    expect(b).toMatchObject({ state: 'skipped', outcome: 'need_failed' });
    expect(await getPlan(world.store, plan.id)).toMatchObject({ state: 'failed' });
  });

  test('a group hands on lists of what its members answered, in their order', async () => {
    const { world, plan } = await made(`
name: n
steps:
  - {id: m, task: "try {{ matrix.os }}", matrix: {os: [x, y]}, outputs: {answer: answer}}
  - {id: z, task: "{{ steps.m.output }} {{ steps.m.outputs.answer }}", needs: m}
`);
    await playOut(world, plan, (task) => `ok ${task.at(-1)}`);
    const task = (await sessionsOf(world, plan)).find(({ step_id }) => step_id === 'z')?.task;
    expect(task).toBe('["ok x","ok y"] ["ok x","ok y"]');
  });

  test('a text that cannot be a task fails the step with the words of the refusal', async () => {
    const { world, plan } = await made(
      'name: n\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: "{{ steps.a.output }}", needs: a, retry: {max: 3}}\n',
    );
    await playOut(world, plan, () => '  ');
    expect((await stepsOf(world, plan)).b).toMatchObject({
      ...{ state: 'failed', outcome: 'sling', reason: 'The task is empty.', round: 1 },
    });
  });
});

test('a step that cannot be slung fails, whoever needs it is skipped, and the others go on (E-022)', async () => {
  const { world, plan } = await made(`
name: n
steps:
  - {id: a, task: t, profile: nobody, retry: {max: 5}}
  - {id: b, task: t, needs: a}
  - {id: c, task: t}
`);
  expect(await playOut(world, plan, () => 'yes')).toMatchObject({
    state: 'failed',
    reason: expect.stringMatching(/^1 of \d+ steps failed$/),
  });
  const { a, b, c } = await stepsOf(world, plan);
  expect(a).toMatchObject({ state: 'failed', outcome: 'sling', reason: 'There is no profile called nobody.' });
  expect([b?.state, c?.state]).toEqual(['skipped', 'done']);
});

test('a step may have a name that addresses somebody else, or that a live session has', async () => {
  const { world, plan } = await made('name: n\nsteps:\n  - {id: operator, task: t}\n  - {id: a, task: t}\n');
  const other = await storePlanAt(world, newRepository(), 'name: o\nsteps:\n  - {id: a, task: t}\n');
  await look(world, plan);
  await look(world, other);
  const names = [...(await sessionsOf(world, plan)), ...(await sessionsOf(world, other))].map(({ name }) => name);
  expect(names).toEqual(['a', 'step-operator', 'a-2']);
});

test('settings of a step are those of its session', async () => {
  const { world, repo, plan } = await made(`
name: n
steps:
  - {id: a, task: t, worktree: true, gate: [make], timeout: 5m, budget: {usd: 2}, role: builder}
`);
  await look(world, plan);
  const [slung] = await sessionsOf(world, plan);
  expect(await getSession(world.store, slung?.id ?? '')).toMatchObject({
    ...{ gate_json: '["make"]', timeout_ms: 300_000, role: 'builder', repo_root: repo, run_id: plan.run_id },
    ...{ branch: expect.stringMatching(/^drover\/a-/), base_branch: 'main', parent_id: null },
  });
  const budget = await world.store.read((tx) =>
    tx.get("SELECT cost_micros, tokens FROM budgets WHERE scope = 'session'"),
  );
  expect(budget).toEqual({ cost_micros: 2_000_000, tokens: null });
});

test('a list fans out to as many as it may, each with its item (foreach)', async () => {
  const { world, plan } = await made(`
name: n
concurrency: 2
steps:
  - {id: list, task: print}
  - {id: fix, task: "{{ foreach.index }}: {{ foreach.item }} of {{ steps.list.output }}", foreach: {step: list, max: 2}}
  - {id: z, task: "all: {{ steps.fix.output }}", needs: fix}
`);
  const answer = (task: string) => (task === 'print' ? '["x","y","z"]' : `did ${task.slice(0, 4)}`);
  expect(await playOut(world, plan, answer)).toMatchObject({ state: 'completed' });
  expect((await sessionsOf(world, plan)).map(({ step_id, task }) => [step_id, task])).toEqual([
    ['fix.1', '1: x of ["x","y","z"]'],
    ['fix.2', '2: y of ["x","y","z"]'],
    ['list', 'print'],
    ['z', 'all: ["did 1: x","did 2: y"]'],
  ]);
  expect((await stepsOf(world, plan)).fix).toMatchObject({ state: 'done', dropped: 1 });
});

test('a list of a hundred paths fans out; one that was cut fails who wants it, and is said where it is handed on', async () => {
  const text = 'name: n\nsteps:\n  - {id: l, task: print}\n  - {id: t, task: "got {{ steps.l.output }}", needs: l}\n';
  const each = '  - {id: f, task: "{{ foreach.item }}", foreach: {step: l, max: 200}}\n';
  const list = JSON.stringify(Array.from({ length: 120 }, (_, i) => `packages/part-${i}/src/some/deep/place/index.ts`));
  const { world, plan } = await made(text + each);
  await look(world, plan);
  await workAll(world, plan, () => list);
  await look(world, plan);
  const names = Object.keys(await stepsOf(world, plan)).filter((id) => id.startsWith('f.'));
  expect(names).toHaveLength(120);
  const other = await made(text + each);
  const cut = keptAnswer(`${list}\n${'x'.repeat(ANSWER_LIMIT)}`);
  await look(other.world, other.plan);
  await workAll(other.world, other.plan, () => cut);
  await look(other.world, other.plan);
  expect((await stepsOf(other.world, other.plan)).f).toMatchObject({
    ...{ state: 'failed', outcome: 'fan_out', reason: expect.stringContaining('longer than 262144 characters') },
  });
  const tasks = (await sessionsOf(other.world, other.plan)).map(({ task }) => task);
  expect(tasks.at(-1)).toEndWith('x\n[cut by drover: the answer is longer than 262144 characters]');
});

test('one look goes as far as it goes: a list that has come is fanned out and its items are started', async () => {
  const { world, plan } = await made(
    'name: n\nsteps:\n  - {id: l, task: print}\n  - {id: f, task: "{{ foreach.item }}", foreach: l}\n',
  );
  await look(world, plan);
  await workAll(world, plan, () => '["x","y"]');
  await look(world, plan);
  expect(await statesOf(world, plan)).toEqual({ l: 'done', 'f.1': 'running', 'f.2': 'running', f: 'running' });
});

describe('what goes wrong', () => {
  test('a failed try is tried again after its pause, and the parked session of the try before is stopped', async () => {
    const { world, plan } = await made('name: n\nsteps:\n  - {id: a, task: t, retry: {max: 1, on: [gate, failed]}}\n');
    await look(world, plan);
    const [first] = await sessionsOf(world, plan);
    await pauseSession(world.store, { session_id: first?.id ?? '', reason: 'red', now: world.clock.now() });
    await world.store.write((tx) => tx.run("UPDATE sessions SET parked_reason = 'gate'"));
    const { wake_at, effects } = await look(world, plan);
    expect(wake_at).toBeGreaterThan(world.clock.now());
    expect(effects).toEqual([
      { do: 'stop', key: `stop ${first?.id}`, session_id: first?.id ?? '', reason: 'the step a is tried again' },
    ]);
    expect((await stepsOf(world, plan)).a).toMatchObject({ state: 'pending', outcome: 'gate', round: 2 });
    expect((await look(world, plan)).effects).toHaveLength(1);
    world.clock.advance(6_000);
    await look(world, plan);
    expect((await sessionsOf(world, plan)).map(({ round, state }) => [round, state])).toEqual([
      [1, 'parked'],
      [2, 'queued'],
    ]);
    await workAll(world, plan, () => null);
    await look(world, plan);
    expect((await stepsOf(world, plan)).a).toMatchObject({ state: 'failed', outcome: 'failed', round: 2 });
  });

  test('a session that waits for a person parks its step and, when nothing else moves, its plan; and back', async () => {
    const { world, plan } = await made('name: n\nsteps:\n  - {id: a, task: t}\n');
    await look(world, plan);
    const [slung] = await sessionsOf(world, plan);
    const session_id = slung?.id ?? '';
    await pauseSession(world.store, { session_id, reason: 'wait', now: world.clock.now() });
    await look(world, plan);
    expect((await stepsOf(world, plan)).a).toMatchObject({ state: 'parked', reason: 'operator' });
    expect(await getPlan(world.store, plan.id)).toMatchObject({ state: 'parked', reason: '1 parked' });
    await world.store.write((tx) =>
      tx.run("UPDATE sessions SET state = 'queued', parked_reason = NULL, parked_evidence = NULL"),
    );
    await look(world, plan);
    expect((await stepsOf(world, plan)).a).toMatchObject({ state: 'running', reason: null });
    expect(await playOut(world, plan, () => 'yes')).toMatchObject({ state: 'completed' });
  });

  test('a failure stops a plan that wants that, and leaves what was not started', async () => {
    const { world, plan } = await made(
      'name: n\nconcurrency: 1\non_failure: stop\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: t}\n',
    );
    expect(await playOut(world, plan, () => null)).toMatchObject({ state: 'failed', stopping: 'on_failure' });
    expect(await statesOf(world, plan)).toEqual({ a: 'failed', b: 'skipped' });
  });

  test('a plan that is paused starts nothing; one that was cancelled is let alone', async () => {
    const { world, plan } = await made('name: n\nsteps:\n  - {id: a, task: t}\n');
    await movePlan(world.store, { id: plan.id, to: 'paused', reason: null, now: 1 });
    await look(world, plan);
    expect(await sessionsOf(world, plan)).toEqual([]);
    await cancelPlan(world.store, { id: plan.id, reason: 'enough', now: 2 });
    expect(await look(world, plan)).toMatchObject({ wake_at: null, effects: [] });
    expect(await sessionsOf(world, plan)).toEqual([]);
  });
});

test('outside its window nothing starts, and what runs is held until it opens', async () => {
  const { world, plan } = await made(
    'name: n\nconcurrency: 2\nwindow: {start: "22:00", stop: "06:00", timezone: UTC, running: park}\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: t}\n  - {id: c, task: t}\n',
  );
  const night = Date.parse('2031-01-10T23:00:00Z');
  const day = Date.parse('2031-01-11T07:00:00Z');
  const opens = Date.parse('2031-01-11T22:00:00Z');
  await advancePlan(world.deps, plan.id, night);
  const [first, second] = await sessionsOf(world, plan);
  const claim = await takeTurn(world, first?.id ?? '');
  expect(await advancePlan(world.deps, plan.id, day)).toMatchObject({ wake_at: opens, has_held: true });
  for (const { id } of [first ?? { id: '' }, second ?? { id: '' }])
    expect(await getSession(world.store, id)).toMatchObject({
      ...{ state: 'parked', parked_reason: 'operator', resume_at: opens },
      parked_evidence: expect.stringContaining('the window of the plan n is closed'),
    });
  const cause = await world.store.read((tx) => tx.get('SELECT end_cause FROM turns'));
  expect(cause).toEqual({ end_cause: 'pause' });
  await endTurn(world, claim, { ok: false });
  await advancePlan(world.deps, plan.id, day + 1);
  expect((await sessionsOf(world, plan)).map(({ step_id }) => step_id)).toEqual(['a', 'b']);
  expect((await listPlanLog(world.store, plan.id)).filter(({ event }) => event.startsWith('window'))).toHaveLength(2);
  // What waits for an instant does not keep the plan from being one that goes on by itself.
  expect(await getPlan(world.store, plan.id)).toMatchObject({ state: 'active', is_window_open: 0 });
});

test('many are started in turns, so that whoever looks has time for others', async () => {
  const steps = Array.from({ length: 20 }, (_, i) => `  - {id: s${i}, task: t}`).join('\n');
  const { world, plan } = await made(`name: n\nconcurrency: 20\nsteps:\n${steps}\n`);
  const now = world.clock.now();
  expect(await advancePlan(world.deps, plan.id, now)).toMatchObject({ wake_at: now + 1 });
  expect(await sessionsOf(world, plan)).toHaveLength(16);
  expect(await advancePlan(world.deps, plan.id, now)).toMatchObject({ wake_at: null });
  expect(await sessionsOf(world, plan)).toHaveLength(20);
});

test('where a failure stops a plan, a step that cannot be slung keeps those after it from starting in the same look', async () => {
  const steps = 'steps:\n  - {id: a, task: t, role: nobody}\n  - {id: b, task: t}\n';
  const stopping = await made(`name: n\non_failure: stop\n${steps}`);
  await look(stopping.world, stopping.plan);
  expect(await statesOf(stopping.world, stopping.plan)).toEqual({ a: 'failed', b: 'skipped' });
  const going = await made(`name: n\n${steps}`);
  await look(going.world, going.plan);
  expect(await statesOf(going.world, going.plan)).toEqual({ a: 'failed', b: 'running' });
});

/** The same store, until the n-th write: that one lands, and its caller dies. What it asks for later is nobody's word. */
function dying(store: Store, after: number): Store {
  let left = after;
  return new Proxy(store, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== 'function') return value;
      if (key !== 'write') return value.bind(target);
      return async (work: Parameters<Store['write']>[0]) => {
        left -= 1;
        const isLast = left <= 0;
        const result = left < 0 ? null : await target.write(work);
        if (isLast) throw new AppError('interrupted', 'killed', 'killed');
        return result;
      };
    },
  });
}

const WIDE = `
name: wide
concurrency: 50
steps:
  - {id: a, task: print}
  - {id: b, task: b, attempts: 3, worktree: true}
  - {id: c, task: c, retry: {max: 1}}
  - {id: e, task: "{{ foreach.item }}", foreach: {step: a, max: 5}}
  - {id: z, task: z, needs: [a, c, e], when: always}
`;
const answerWide = (task: string) => (task === 'print' ? '["1","2","3"]' : task === 'c' ? null : task);

async function checkOnce(world: TestStore): Promise<void> {
  const counts = await world.store.read((tx) =>
    tx.get(`SELECT (SELECT count(*) FROM sessions) AS sessions, (SELECT count(*) FROM step_sessions) AS tries,
      (SELECT count(DISTINCT step_id || ' ' || round || ' ' || slot) FROM step_sessions) AS apart,
      (SELECT count(*) FROM plan_log WHERE event = 'started') AS told,
      (SELECT count(*) FROM plan_log WHERE event = 'fanned_out') AS fanned`),
  );
  // a, b thrice, c twice, three items, z.
  expect(counts).toEqual({ sessions: 10, tries: 10, apart: 10, told: 10, fanned: 1 });
}

test('whoever dies after whichever write: who comes after goes on, and everything is done once (I9)', async () => {
  const { world, plan } = await made(WIDE);
  let deaths = 0;
  for (let looks = 0; looks < 200 && (await getPlan(world.store, plan.id))?.ended_at === null; looks += 1) {
    const deps = { ...world.deps, store: dying(world.store, 1 + (looks % 2)) };
    await look(world, plan, deps).catch((error: Error) => {
      if (error.message !== 'killed') throw error;
      deaths += 1;
    });
    await world.store.write((tx) => tx.run('UPDATE step_sessions SET diff_lines = slot WHERE diff_lines IS NULL'));
    if (looks % 5 === 4) {
      await workAll(world, plan, answerWide);
      world.clock.advance(10_000);
    }
  }
  expect(deaths).toBeGreaterThan(10);
  expect(await getPlan(world.store, plan.id)).toMatchObject({
    state: 'failed',
    reason: expect.stringMatching(/^1 of \d+ steps failed$/),
  });
  await checkOnce(world);
});

test('two loops on two connections do everything once between them, also when they meet', async () => {
  const { world, plan } = await made(WIDE);
  const other = await world.second();
  for (let looks = 0; looks < 60 && (await getPlan(world.store, plan.id))?.ended_at === null; looks += 1) {
    await Promise.all([look(world, plan), look(world, plan, { ...world.deps, store: other }), look(world, plan)]);
    await world.store.write((tx) => tx.run('UPDATE step_sessions SET diff_lines = slot WHERE diff_lines IS NULL'));
    await workAll(world, plan, answerWide);
    world.clock.advance(10_000);
  }
  expect(await getPlan(world.store, plan.id)).toMatchObject({
    state: 'failed',
    reason: expect.stringMatching(/^1 of \d+ steps failed$/),
  });
  await checkOnce(world);
});
