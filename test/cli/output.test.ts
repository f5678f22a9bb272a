import { expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { dollars } from '../../src/cli/output.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { seedSession, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

/** A bench on a store with one session in a turn; no verb here needs a supervisor. */
async function withSession(): Promise<Bench> {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const { id } = await seedSession(world, { name: 'ewe', repo_root: bench.repo, working_dir: bench.repo });
  await takeTurn(world, id);
  return bench;
}

const lineOf = async (bench: Bench, args: string[]) => {
  const { code, stdout } = await bench.run(args);
  expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  return { code, stdout, body: JSON.parse(stdout) as Record<string, unknown> };
};

test('--json is one object with its schema version, good or bad; times are ISO, secrets stay in (O-90)', async () => {
  const bench = await withSession();
  for (const args of [['status'], ['show', 'ewe'], ['mail', 'list'], ['run', 'list'], ['ps'], ['harness', 'list']]) {
    const { code, stdout, body } = await lineOf(bench, [...args, '--json']);
    expect([args, code, body.schema_version, body.ok]).toEqual([args, 0, 1, true]);
    expect(stdout).not.toContain('token_hash');
    expect(stdout).not.toMatch(/_at":\d/);
  }
  const { sessions } = await bench.json<{ sessions: { created_at: string }[] }>(['status']);
  expect(sessions.map(({ created_at }) => new Date(created_at).toISOString())).toEqual(
    sessions.map(({ created_at }) => created_at),
  );
  for (const [args, exit, kind] of [
    [['show', 'nobody'], 4, 'not_found'],
    [['status', '--bogus'], 2, 'usage'],
    [['no-such-verb'], 2, 'usage'],
  ] as const) {
    const { code, body } = await lineOf(bench, [...args, '--json']);
    expect([code, body.schema_version, body.ok]).toEqual([exit, 1, false]);
    expect(body.error).toMatchObject({ kind, code: expect.any(String), message: expect.any(String) });
  }
});

test('--project, --json and --quiet count before the verb, after it and after a command of it (O-91)', async () => {
  const bench = await withSession();
  const below = join(bench.repo, 'below');
  mkdirSync(below);
  const elsewhere = { cwd: tempDir('elsewhere') };
  bench.git('init', '-q', elsewhere.cwd);
  for (const args of [
    ['--project', below, '--json', 'status'],
    ['status', '--json', '--project', below],
    ['status', `--project=${below}`, '--json', '--quiet'],
  ]) {
    const { sessions } = JSON.parse((await bench.run(args, elsewhere)).stdout) as { sessions: { name: string }[] };
    expect([args, sessions.map(({ name }) => name)]).toEqual([args, ['ewe']]);
  }
  expect(await bench.run(['status', '--json'], elsewhere)).toMatchObject({
    stdout: expect.stringContaining('"sessions":[]'),
  });
  for (const args of [
    ['run', 'list', '--json'],
    ['run', '--json', 'list'],
    ['--json', 'run', 'list'],
  ])
    expect(JSON.parse((await bench.run(args)).stdout)).toMatchObject({ ok: true, runs: [] });
});

test('money is shown with four decimals, unknown money as a dash (E-001)', () => {
  expect([0, 4_515, 1_250_000, null].map(dollars)).toEqual(['$0.0000', '$0.0045', '$1.2500', '-']);
});
