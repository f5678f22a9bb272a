import { beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../src/model/error.ts';
import { PLAN_LIMITS } from '../../src/model/plan.ts';
import { checkPlanFile, draftPlan, launchFacts } from '../../src/plan/draft.ts';
import { insertPlan, listPlans } from '../../src/store/plan.ts';
import { listSessions } from '../../src/store/session.ts';
import { writeConfig } from '../support/drover.ts';
import { type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

let world: TestStore;
let repo: string;

beforeAll(async () => {
  world = await testStore();
  repo = repository();
});

function repository(...options: string[]): string {
  const dir = tempDir('repo');
  for (const args of [
    ['init', '-q', '-b', 'main', ...options],
    ...(options.length > 0
      ? []
      : [['-c', 'user.name=t', '-c', 'user.email=t@localhost', 'commit', '-q', '--allow-empty', '-m', 's']]),
  ]) {
    const done = Bun.spawnSync(['git', '-C', dir, ...args]);
    if (done.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`);
  }
  return dir;
}

const draft = (text: string, more: { cwd?: string; variables?: Record<string, string> } = {}) =>
  draftPlan(world.deps, { text, file: 'night.yaml', cwd: repo, ...more });
const steps = (...lines: string[]) =>
  `name: n\ndefaults: {harness: rehearsal}\nsteps:\n${lines.map((line) => `  - ${line}\n`).join('')}`;

async function refused(text: string, more: { cwd?: string } = {}): Promise<AppError> {
  const error = await draft(text, more).catch((thrown: unknown) => thrown);
  if (!(error instanceof AppError)) throw new Error(`not refused: ${JSON.stringify(error)?.slice(0, 200)}`);
  return error;
}

test('every step gets the pool of its profile, or that of its harness (C-12, E-021)', async () => {
  const own = await testStore();
  writeConfig(own.deps.env.HOME ?? '', {
    default_profile: 'day',
    profiles: { day: { agent: 'rehearsal' }, night: { agent: 'rehearsal', pool: 'cheap' } },
  });
  const dir = join(repo, 'sub');
  mkdirSync(dir);
  const text = `name: n
steps:
  - {id: a, task: t}
  - {id: b, task: t, profile: "{{ who }}"}
  - {id: c, task: t, profile: "{{ matrix.p }}", matrix: {p: [night, day]}}
  - {id: d, task: "{{ foreach.item }}", profile: night, foreach: a}
`;
  const made = await draftPlan(own.deps, {
    ...{ text, file: '/x/n.yaml', cwd: dir, variables: { who: 'night' }, schedule_id: 'schedule-1' },
  });
  expect(made.steps.map(({ step, pool }) => [step.id, pool])).toEqual([
    ['a', 'rehearsal'],
    ['b', 'cheap'],
    ['c.1', 'cheap'],
    ['c.2', 'rehearsal'],
    ['c', 'cheap'],
    ['d', 'cheap'],
  ]);
  expect(made).toMatchObject({ repo_root: repo, working_dir: dir, file: '/x/n.yaml', schedule_id: 'schedule-1' });
  expect(made.id).toMatch(/^plan-/);
  expect(made.settings).not.toHaveProperty('steps');
  expect(await insertPlan(own.store, made)).toMatchObject({ name: 'n', state: 'active' });
  const check = await checkPlanFile(own.deps, { text, cwd: dir, variables: { who: 'night' } });
  expect(launchFacts(check.plan?.launches ?? new Map()).get('d')).toEqual({
    ...{ harness: 'rehearsal', profile_name: 'night', role: 'solo', pool: 'cheap' },
  });
});

test('names are held against this machine: profiles, harnesses with aliases, roles, and how a pull request is opened', async () => {
  const error = await refused(
    steps(
      '{task: t, profile: nobody}',
      '{task: t, harness: claud}',
      '{task: t, role: bulder}',
      '{task: t, merge: pr}',
      '{task: t, harness: auto}',
      '{task: t, harness: claude-code, role: builder}',
      '{task: t, role: monitor}',
    ),
  );
  expect(error.code).toBe('plan_invalid');
  expect(error.message.split('\n').slice(1)).toEqual([
    'night.yaml:4:24 there is no profile "nobody"',
    'night.yaml:5:24 there is no harness "claud"; did you mean claude?',
    'night.yaml:6:21 there is no role "bulder"; did you mean builder?',
    'night.yaml:7:22 pr needs the setting merge.pr_command',
    'night.yaml:10:21 the role monitor is persistent: a step with it never ends',
  ]);
  expect(error.details.data).toMatchObject({
    file: 'night.yaml',
    issues: [{ line: 4, column: 24, path: 'steps[0].profile' }, {}, {}, {}, {}],
  });
});

test('a plan is only for a checkout, and only with what is installed', async () => {
  const text = steps('{task: t}');
  expect((await refused(text, { cwd: tempDir('plain') })).code).toBe('not_a_repository');
  expect((await refused(text, { cwd: repository('--bare') })).code).toBe('not_a_repository');
  expect((await refused(text, { cwd: join(repo, 'gone') })).code).toBe('cwd_missing');
  // What is wrong with the file is said first: it is wrong everywhere.
  expect((await refused('name: n', { cwd: tempDir('plain') })).code).toBe('plan_invalid');
  const { code, kind } = await refused('name: n\nsteps: [{task: t, harness: opencode}]');
  expect([code, kind]).toEqual(Bun.which('opencode') === null ? ['harness_not_installed', 'refused'] : ['', '']);
});

test('a repository whose settings would run its own code is refused before anything is stored', async () => {
  const hostile = repository();
  mkdirSync(join(hostile, '.opencode/plugin'), { recursive: true });
  writeFileSync(join(hostile, '.opencode/plugin/x.js'), '');
  const bin = tempDir('bin');
  writeFileSync(join(bin, 'opencode'), '#!/bin/sh\n', { mode: 0o755 });
  const deps = { ...world.deps, env: { ...world.deps.env, PATH: `${bin}:${world.deps.env.PATH}` } };
  const text = 'name: n\nsteps: [{task: t, harness: opencode}]';
  const error = await draftPlan(deps, { text, file: null, cwd: hostile }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'repository_untrusted' });
});

const bomb = () => {
  const lines = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 9; i++) lines.push(`b${i}: &b${i} [${Array(10).fill(i === 1 ? '*a' : `*b${i - 1}`)}]`);
  return lines.join('\n');
};
const chain = (n: number) =>
  steps(...Array.from({ length: n }, (_, i) => `{id: s${i}, task: t, needs: [s${(i + 1) % n}]}`));

describe('bad input is refused with its place, and nothing is stored', () => {
  test.each<[string, () => string, string | RegExp]>([
    ['no YAML', () => 'name: [n\nsteps: }', /^night\.yaml:\d+:\d+ /],
    ['a binary file', () => '\x7fELF\x02\x01\0\0', /night\.yaml:\d+:\d+ /],
    ['nothing', () => '', 'a plan is a mapping'],
    ['a list', () => '- a\n- b', 'a plan is a mapping'],
    ['two documents', () => `${steps('{task: t}')}---\nname: m`, 'second one'],
    ['huge', () => `# ${'x'.repeat(PLAN_LIMITS.bytes)}`, 'bytes; at most'],
    ['an anchor bomb', bomb, 'aliases make more than'],
    ['a deep one', () => `name: n\nsteps: ${'['.repeat(5_000)}`, 'levels deep'],
    ['duplicate ids', () => steps('{id: a, task: t}', '{id: a, task: t}'), 'night.yaml:5:10 the id a is taken'],
    ['a key twice', () => `${steps('{task: t}')}name: m\n`, 'night.yaml:5:1 the key "name" stands here twice'],
    ['10,001 steps', () => steps(...Array(10_001).fill('{task: t}')), '10001 steps are more than 10000'],
    [
      'steps beyond it by a matrix',
      () => steps(`{task: t, matrix: {a: [${Array(10_001).fill(1)}]}}`),
      'must have at most 10000 entries',
    ],
    ['a cycle of 1', () => steps('{id: a, task: t, needs: a}'), 'it waits for itself: a -> a'],
    ['a cycle of 2', () => chain(2), 'these 2 wait for one another: s0 -> s1 -> s0'],
    ['a cycle of 200', () => chain(200), 'these 200 wait for one another: s0 -> s1 -> s2'],
    ['negative money', () => steps('{task: t, budget: {usd: -0.01}}'), 'night.yaml:4:29 must be more than 0'],
    [
      'steps beyond it by two lists',
      () => steps(`{task: t, matrix: {a: [${Array(101).fill(1)}], b: [${Array(100).fill(1)}]}}`),
      'comes to 10100 steps',
    ],
    ['money in words', () => steps('{task: t, budget: {usd: much}}'), 'night.yaml:4:29 must be a number of US dollars'],
    ['half a window', () => `${steps('{task: t}')}window: {start: "1:00"}`, 'stop is missing'],
    ['infinite money', () => steps('{task: t, budget: {usd: .inf}}'), 'night.yaml:4:29 must be a number'],
    [
      'an unknown zone',
      () => `${steps('{task: t}')}window: {start: "1:00", stop: "2:00", timezone: Mars/Base}`,
      'is no time zone',
    ],
    ['a window that never opens', () => `${steps('{task: t}')}window: {start: "7:30", stop: "07:30"}`, 'never opens'],
    [
      'a time that is none',
      () => `${steps('{task: t}')}window: {start: "25:00", stop: "07:30"}`,
      'must be a time such as',
    ],
    ['holes in holes', () => steps('{task: "{{ a{{ b }} }}"}'), 'a hole within a hole'],
    ['an open hole', () => steps('{task: "{{ a"}'), 'never closed'],
    ['a hole without a value', () => steps('{task: "{{ a }}"}'), '{{ a }}: no value was given'],
    ['a value by prototype', () => steps('{task: "{{ constructor }}"}'), 'no value was given'],
    ['a task with a dash', () => steps('{task: "--help"}'), 'night.yaml:4:12 a task must not start with "-"'],
    ['a task with NUL', () => steps('{task: "a\\0b"}'), 'must not contain a NUL character'],
    ['an empty task', () => steps('{task: "  "}'), 'a task must not be empty'],
    ['a base with a dash', () => steps('{task: t, base: --upload-pack=x}'), 'must not start with "-"'],
    ['a path that leads out', () => steps('{task: t, outputs: {a: ../../etc/passwd}}'), 'without ".."'],
    [
      'needs nobody has',
      () => steps('{id: build, task: t, needs: [biuld]}'),
      'there is no step "biuld"; did you mean build?',
    ],
  ])('%s', async (_what, text, expected) => {
    const error = await refused(text());
    expect(error).toMatchObject({ code: 'plan_invalid', exitCode: 2 });
    const lines = error.message.split('\n').slice(1).join('\n');
    if (typeof expected === 'string') expect(lines).toContain(expected);
    else expect(lines).toMatch(expected);
    expect(error.details.preserved).toContain('nothing was stored');
    expect((await listPlans(world.store)).length + (await listSessions(world.store, {})).length).toBe(0);
  });

  test('a message stays readable, its data are complete', async () => {
    const error = await refused(steps(...Array.from({ length: 300 }, () => '{task: "-x"}')));
    expect(error.message.split('\n')).toHaveLength(52);
    expect(error.message).toContain('and 250 more');
    expect((error.details.data as { issues: unknown[] }).issues).toHaveLength(300);
  });
});

test('10,000 steps are drafted and stored in seconds', async () => {
  const own = await testStore();
  const start = performance.now();
  const text = steps(
    ...Array.from({ length: 10_000 }, (_, i) => `{id: s${i}, task: t, needs: [${i > 0 ? `s${i - 1}` : ''}]}`),
  );
  const made = await draftPlan(own.deps, { text, file: null, cwd: repo });
  expect(made.steps).toHaveLength(10_000);
  await insertPlan(own.store, made);
  expect(performance.now() - start).toBeLessThan(15_000);
}, 60_000);
