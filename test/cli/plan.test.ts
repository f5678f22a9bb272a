import { beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Forecast } from '../../src/model/forecast.ts';
import { listPlans, movePlan } from '../../src/store/plan.ts';
import { cancelPlan } from '../../src/store/plan-step.ts';
import { listSessions } from '../../src/store/session.ts';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';
import { storePlan } from '../support/plan.ts';
import { seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { withStore } from '../support/stored.ts';

const NIGHT = `name: night
concurrency: 3
defaults: {harness: rehearsal}
pools: {rehearsal: 2, idle: 1}
budget: {usd: 5}
steps:
  - {id: list, task: list}
  - {id: fix, task: "fix {{ who }}", needs: list, retry: {max: 2}}
`;

interface Failure {
  error: { code: string; message: string; data?: { issues: { line: number; column: number; message: string }[] } };
}

describe('plan check', () => {
  let bench: Bench;
  beforeAll(() => {
    bench = droverBench();
    writeFileSync(join(bench.repo, 'night.yaml'), NIGHT);
    writeFileSync(join(bench.repo, 'bad.yaml'), 'name: n\nsteps:\n  - {id: a, task: -x, needs: [b]}\n  - {taks: y}\n');
  });

  test('says what a plan will come to, and writes nothing (C-12)', async () => {
    const done = await bench.run(['plan', 'check', 'night.yaml', '--var', 'who=me', '--var', 'whom=you']);
    expect(done.code).toBe(0);
    for (const line of [
      'night: 2 steps, no mistakes',
      'Sessions      2, at most 4',
      'Slots         3 side by side (plan 3, machine 8)',
      'Longest path  2: list -> fix',
      'Cost          no history',
      'Pools         rehearsal: 2 sessions (2 at a time)',
      'Budget        $5.0000',
      'No history    list, fix',
    ])
      expect(done.stdout).toContain(line);
    expect(done.stderr).toBe(
      'note: no hole asks for the variable whom\nnote: no step uses the pool idle that the plan caps\n',
    );
    expect(existsSync(bench.drover_home)).toBe(false);
  });

  test('a stop that a harness cannot tell of in time, and work that is done twice, are told', async () => {
    const text = (steps: string) => `name: n\nstop_when: {quota_left: 10%}\nsteps:\n${steps}`;
    const check = async (steps: string) =>
      (await bench.run(['plan', 'check', '-'], { stdin: text(steps) })).stderr.replaceAll(
        /^note: (slots|.* is not installed).*\n/gm,
        '',
      );
    expect(await check('  - {task: t, harness: codex}\n  - {task: t, harness: claude}\n')).toContain(
      'note: stop_when.quota_left: codex does not tell what is left of its quota; it counts once a usage limit is hit\n',
    );
    expect(await check('  - {task: t, harness: claude}\n')).toBe('');
    expect(await check('  - {id: m, task: t, harness: claude, matrix: {x: [1, 1.0], y: [a]}}\n')).toBe(
      'note: the matrix of m has the same combination more than once\n',
    );
  });

  test('fewer worktrees than its steps want at a time are told of, with the numbers', async () => {
    const own = droverBench({ config: { max_worktrees: 2 } });
    const step = 'worktree: true, harness: rehearsal, task: t';
    const check = async (text: string) => {
      const done = await own.run(['plan', 'check', '-'], { stdin: `name: n\nconcurrency: 3\nsteps:\n${text}` });
      return [done.code, done.stderr.replaceAll(/^note: .* is not installed.*\n/gm, '')];
    };
    const wide = 'note: slots: up to 3 worktrees are wanted at a time, max_worktrees is 2: the rest waits\n';
    expect(await check(`  - {id: l, task: t}\n  - {${step}, needs: l, foreach: {step: l, max: 9}}\n`)).toEqual([
      0,
      wide,
    ]);
    expect(await check(`  - {id: a, ${step}}\n  - {id: b, ${step}}\n  - {id: c, task: t}\n`)).toEqual([0, '']);
    expect(await check(`  - {id: a, ${step}, attempts: 3}\n`)).toEqual([
      0,
      `${wide}note: slots: the 3 attempts of a keep their worktrees until all are over, max_worktrees is 2\n`,
    ]);
  });

  test('a bound in dollars that cannot hold is told before the night: nobody knows what these sessions cost', async () => {
    const user = { profiles: { cheap: { model: 'small' } }, prices: {} };
    const check = async (head: string, config: unknown = user, step = 'harness: codex, profile: cheap') => {
      const own = droverBench({ config });
      const text = `name: n\n${head}steps:\n  - {id: a, task: t, ${step}}\n  - {id: b, task: t, harness: rehearsal}\n`;
      const done = await own.run(['plan', 'check', '-'], { stdin: text });
      expect(done.code).toBe(0);
      return done.stderr.replaceAll(/^note: .* is not installed.*\n/gm, '');
    };
    const note = (who: string, what: string) =>
      `note: nobody knows what ${who} costs (a): ${what} cannot hold; set its price in the config, or bound tokens\n`;
    expect(await check('budget: {usd: 5}\nstop_when: {usd: 4}\n')).toBe(
      note('codex with small', 'budget.usd and stop_when.usd'),
    );
    expect(await check('stop_when: {usd: 4}\n', user, 'harness: codex')).toBe(note('codex', 'stop_when.usd'));
    expect(await check('', user, 'harness: codex, profile: cheap, budget: {usd: 1}')).toBe(
      note('codex with small', 'their budgets in dollars'),
    );
    const prices = { small: { input: 1, output: 2 } };
    expect(await check('budget: {usd: 5}\n', { ...user, prices })).toBe('');
    expect(await check('budget: {tokens: 5000}\n')).toBe('');
    expect(await check('budget: {usd: 5}\n', user, 'harness: rehearsal')).toBe('');
  }, 60_000);

  test('a harness that is not installed is told of once; of very many mistakes the first ones, and where all are', async () => {
    const own = droverBench({ config: { harness_runners: { mine: { program: 'no-such-program-here' } } } });
    const check = (steps: string, ...more: string[]) =>
      own.run(['plan', 'check', '-', ...more], { stdin: `name: n\nsteps:\n${steps}` });
    const done = await check('  - {task: t, harness: mine}\n'.repeat(2));
    expect([done.code, done.stderr]).toEqual([
      0,
      'note: mine is not installed: no no-such-program-here on PATH. `plan run` will refuse it here.\n',
    ]);
    const bad = Array.from({ length: 700 }, (_, i) => `  - {task: t, harness: no-${i}}\n`).join('');
    expect((await check(bad)).stderr).toContain('and 200 more; drover plan check --json has all');
    expect(JSON.parse((await check(bad, '--json')).stdout).error.data.issues).toHaveLength(700);
  });

  test('the past of similar steps on this machine is its forecast', async () => {
    const world = await testStore();
    const { repo } = bench;
    await world.store.write((tx) => {
      for (const [i, cost] of [100_000, 300_000, 800_000].entries()) {
        tx.run(
          `INSERT INTO sessions (id, name, role, harness, task, project, task_group, repo_root, working_dir, state, end_reason,
             turn, depth, pool, cost_micros, created_at, updated_at, ended_at)
           VALUES (:id, :id, 'solo', 'rehearsal', 't', 'p', 'g', :repo, :repo, 'completed', 'ok', 1, 0, 'rehearsal', :cost, 1, 1, 9)`,
          { id: `agent-${i}`, repo, cost },
        );
      }
    });
    const text = NIGHT.replace('{{ who }}', 'it');
    const env = { DROVER_HOME: world.home };
    const ran = await bench.run(['plan', 'check', '-', '--json'], { stdin: text, env });
    const { forecast } = JSON.parse(ran.stdout) as { forecast: Forecast };
    expect(forecast.cost_micros).toEqual({ median: 600_000, worst: 1_600_000 });
    expect(forecast.steps.map(({ basis, samples }) => [basis, samples])).toEqual([
      ['profile', 3],
      ['profile', 3],
    ]);
    expect((await bench.run(['plan', 'check', '-'], { stdin: text, env })).stdout).toContain(
      'Cost          $0.6000 as a rule, $1.6000 at worst',
    );
  });

  test('every mistake at once, each with its place; exit code 2', async () => {
    const done = await bench.run(['plan', 'check', 'bad.yaml']);
    expect([done.code, done.stdout]).toEqual([2, '']);
    expect(done.stderr.split('\n').slice(0, 5)).toEqual([
      'error: The plan has 4 mistakes:',
      'bad.yaml:3:19 a task must not start with "-"',
      'bad.yaml:3:31 there is no step "b"; did you mean a?',
      'bad.yaml:4:5 task is missing',
      'bad.yaml:4:6 unknown key "taks"; did you mean task? [plan_invalid]',
    ]);
    const { error } = await bench.json<Failure>(['plan', 'check', 'bad.yaml'], 2);
    expect(error.data?.issues).toHaveLength(4);
    expect(error.data?.issues[1]).toMatchObject({
      line: 3,
      column: 31,
      message: 'there is no step "b"; did you mean a?',
    });
  });

  test('outside of a repository it still looks, and says what will be refused', async () => {
    const outside = join(bench.home, 'outside');
    mkdirSync(outside, { recursive: true });
    const done = await bench.run(['plan', 'check', '-'], { stdin: 'name: n\nsteps: [{task: t}]', cwd: outside });
    expect(done.code).toBe(0);
    expect(done.stderr).toContain('Not inside a git repository');
  });

  test('profiles of the settings are known to it', async () => {
    const own = droverBench();
    const text = 'name: n\nsteps: [{task: t, profile: cheap}]';
    expect((await own.run(['plan', 'check', '-'], { stdin: text })).code).toBe(2);
    writeConfig(own.home, { profiles: { cheap: { agent: 'rehearsal', pool: 'night' } } });
    const done = await own.run(['plan', 'check', '-'], { stdin: text });
    expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining('night: 1 session') });
  });
});

describe('what cannot be a plan is refused, and nothing is stored or started', () => {
  let bench: Bench;
  beforeAll(() => {
    bench = droverBench();
    const at = (name: string) => join(bench.repo, name);
    mkdirSync(at('directory'));
    if (Bun.spawnSync(['mkfifo', at('fifo.yaml')]).exitCode !== 0) throw new Error('mkfifo');
    writeFileSync(at('huge.yaml'), `# ${'x'.repeat(17 * 1024 * 1024)}`);
    writeFileSync(at('large.yaml'), `# ${'x'.repeat(2 * 1024 * 1024)}`);
    writeFileSync(at('good.yaml'), 'name: n\ndefaults: {harness: rehearsal}\nsteps: [{task: t}]\n');
  });

  test.each<[args: string[], code: number, error: string]>([
    [['./gone.yaml'], 2, 'plan_unreadable'],
    [['./directory'], 2, 'plan_unreadable'],
    [['fifo.yaml'], 2, 'plan_unreadable'],
    [['/dev/zero'], 2, 'plan_unreadable'],
    [['huge.yaml'], 2, 'plan_unreadable'],
    [['large.yaml'], 2, 'plan_invalid'],
    [['good.yaml', '--var', 'novalue'], 2, 'usage'],
    [['good.yaml', '--name', 'Bad Name'], 2, 'name_invalid'],
    [['good.yaml', '--name', 'latest'], 2, 'name_invalid'],
    [['good.yaml', '--wait', '--detach'], 2, 'usage'],
    [['latest'], 4, 'plan_not_found'],
    [['directory'], 4, 'plan_not_found'],
    [['nobody', '--name', 'x'], 2, 'usage'],
    [['--nonsense'], 2, 'usage'],
  ])('plan run %j: %i %s', async (args, code, error) => {
    expect((await bench.json<Failure>(['plan', 'run', ...args], code)).error.code).toBe(error);
    // Where it looks for a stored plan there is a database by now; there is never anything in it.
    if (!existsSync(join(bench.drover_home, 'drover.db'))) return;
    const stored = await withStore(bench, async (store) => [
      ...(await listPlans(store)),
      ...(await listSessions(store, {})),
    ]);
    expect(stored).toEqual([]);
    expect(existsSync(join(bench.drover_home, 'run/supervisor.log'))).toBe(false);
  });

  test('a session may look at plans and not start or change them', async () => {
    const world = await testStore();
    const { session, token } = await takeTurn(world, (await seedSession(world, { role: 'orchestrator' })).id);
    const env = { DROVER_HOME: world.home, DROVER_SESSION_ID: session.id, DROVER_TOKEN: token };
    await storePlan(world.store, 'name: n\nsteps: [{task: t}]', world.clock.now());
    for (const args of [
      ['run', 'good.yaml'],
      ['pause', 'n'],
      ['resume', 'n'],
      ['cancel', 'n'],
    ])
      expect(await bench.run(['plan', ...args], { env })).toMatchObject({
        ...{ code: 3, stderr: expect.stringContaining('only a person may') },
      });
    for (const args of [['check', 'good.yaml'], ['show', 'n'], ['list']])
      expect(await bench.run(['plan', ...args], { env })).toMatchObject({ code: 0 });
    expect(await listPlans(world.store)).toMatchObject([{ state: 'active', updated_at: expect.any(Number) }]);
  });
});

describe('stored plans', () => {
  let world: TestStore;
  let bench: Bench;
  const text = (name: string) => `name: ${name}
steps:
  - {id: a, task: t}
  - {id: b, task: t, needs: a, matrix: {os: [linux, mac]}}
  - {id: c, task: t, needs: [b, a]}
`;
  beforeAll(async () => {
    world = await testStore();
    bench = droverBench();
    bench.env.DROVER_HOME = world.home;
  });
  const stored = (name: string) => storePlan(world.store, text(name), world.clock.now());

  test('list and show, by id, prefix, name and latest', async () => {
    const { id } = await stored('first');
    const { plans } = await bench.json<{ plans: Record<string, unknown>[] }>(['plan', 'list', '--all']);
    expect(plans).toMatchObject([
      { id, name: 'first', state: 'active', step_count: 4, done_count: 0, settings: { concurrency: 4 } },
    ]);
    expect(await bench.json(['plan', 'list'])).toMatchObject({ plans: [] });
    expect((await bench.run(['plan', 'list', '--all'])).stdout).toMatch(/first +active +0\/4 /);
    for (const word of [id, id.slice(0, 12), 'first', 'latest']) {
      expect(await bench.json(['plan', 'show', word])).toMatchObject({
        plan: { id, created_at: expect.stringMatching(/Z$/) },
        counts: { pending: 4, total: 4 },
        steps: [{ id: 'a' }, { id: 'b.1' }, { id: 'b.2' }, { id: 'b', kind: 'group' }, { id: 'c' }],
      });
    }
    const shown = await bench.run(['plan', 'show', 'first']);
    expect(shown.stdout).toContain('0/4 steps');
    expect(shown.stdout).toMatch(/^\[b\] +pending/m);
    expect((await bench.json<Failure>(['plan', 'show', 'nobody'], 4)).error.code).toBe('plan_not_found');
  });

  test('the graph as text, Mermaid and SVG, of a stored plan and of a file', async () => {
    await stored('graph');
    expect((await bench.run(['plan', 'show', 'graph', '--graph'])).stdout).toBe(`level 1
   . a   pending
level 2
   . b.1 pending    <- a
   . b.2 pending    <- a
level 3
   . [b] pending    <- b.1, b.2
level 4
   . c   pending    <- b, a
`);
    const mermaid = (await bench.run(['plan', 'show', 'graph', '--graph=mermaid'])).stdout;
    expect(mermaid).toContain('flowchart TD\n  s0["a<br/>pending"]:::pending\n');
    expect(mermaid).toContain('  s1 --> s3\n  s2 --> s3\n');
    const svg = (await bench.run(['plan', 'show', 'graph', '--graph', 'svg'])).stdout;
    expect(svg.match(/<rect x=/g)).toHaveLength(5);
    expect(svg.match(/marker-end/g)).toHaveLength(6);
    const file = await bench.run(['plan', 'show', '--graph=mermaid', '-'], {
      stdin: text('other').replace('name:', '# \nname:'),
    });
    expect(file).toMatchObject({ code: 0, stdout: mermaid });
    expect((await bench.run(['plan', 'show', 'graph', '--graph=png'])).code).toBe(2);
  });

  test('run of one that has ended says how it ended: 0, 1', async () => {
    const [good, bad, gone] = [await stored('good'), await stored('bad'), await stored('gone')];
    const now = world.clock.now();
    await movePlan(world.store, { id: good.id, to: 'completed', reason: null, now });
    await movePlan(world.store, { id: bad.id, to: 'failed', reason: '1 of 4 steps failed', now });
    await cancelPlan(world.store, { id: gone.id, reason: 'operator', now });
    expect(await bench.run(['plan', 'run', 'good'])).toMatchObject({ code: 0 });
    expect(await bench.run(['plan', 'run', 'bad', '--wait'])).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('bad: failed (1 of 4 steps failed)'),
    });
    const lines = (await bench.run(['plan', 'run', gone.id, '--json'])).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ event, change }) => change ?? event)).toEqual(['follow', 'created', 'cancelled', 'end']);
    expect(lines.at(-1)).toMatchObject({
      schema_version: 1,
      exit_code: 1,
      plan: { state: 'cancelled' },
      counts: { cancelled: 4 },
    });
    expect(await bench.json(['plan', 'run', 'good', '--detach'])).toMatchObject({ plan: { state: 'completed' } });
  });

  test('pause and cancel are guarded, and say when it is so already', async () => {
    const { id } = await stored('held');
    expect(await bench.json(['plan', 'pause', 'held', '--reason', 'lunch'])).toMatchObject({
      ...{ prev: 'active', changed: true, plan: { id, state: 'paused', reason: 'lunch' } },
    });
    expect((await bench.run(['plan', 'pause', 'held'])).stdout).toBe('held: already paused\n');
    expect((await bench.run(['plan', 'show', 'held'])).stdout).toContain(`drover plan resume ${id}`);
    expect(await bench.json(['plan', 'cancel', id])).toMatchObject({ prev: 'paused', changed: true, stopped: [] });
    expect(await bench.json(['plan', 'cancel', id])).toMatchObject({ changed: false, plan: { state: 'cancelled' } });
    for (const verb of ['pause', 'resume'])
      expect((await bench.json<Failure>(['plan', verb, id], 3)).error.code).toBe('plan_ended');
  });
});

test('before anything was stored there are no plans, and reading creates nothing (H-09)', async () => {
  const bench = droverBench();
  expect(await bench.json(['plan', 'list'])).toMatchObject({ plans: [] });
  for (const verb of ['show', 'pause', 'resume', 'cancel'])
    expect((await bench.json<Failure>(['plan', verb, 'latest'], 4)).error.code).toBe('plan_not_found');
  const schema = JSON.parse((await bench.run(['plan', 'schema'])).stdout);
  expect(schema).toMatchObject({ title: 'drover plan', required: ['name', 'steps'] });
  expect(await bench.json(['plan', 'schema'])).toMatchObject({ schema: { title: 'drover plan' } });
  expect(existsSync(bench.drover_home)).toBe(false);
});
