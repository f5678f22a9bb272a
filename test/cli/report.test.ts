import { expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../../src/model/report.ts';
import { movePlan } from '../../src/store/plan.ts';
import { ensureRun } from '../../src/store/run.ts';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';
import { storePlan } from '../support/plan.ts';
import { seedSession, testStore } from '../support/store.ts';

const PLAN = 'name: night\nsteps:\n  - {id: a, task: t, harness: rehearsal}\n';

test('drover report: of the newest run, of a plan by name or id, of one that goes on; it writes nothing', async () => {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const now = world.clock.now();
  const run_id = await world.store.write((tx) => ensureRun(tx, 'adhoc', now - 60_000));
  await seedSession(world, { run_id, name: 'worker' });
  const plan = await storePlan(world.store, PLAN, now);
  expect((await bench.run(['report'])).stdout).toStartWith('# Running: 1 of 1 step not started.\n\n- Plan: night');
  await movePlan(world.store, { id: plan.id, to: 'cancelled', reason: null, now: now + 1 });
  const files = readdirSync(world.home).sort();
  for (const wanted of [[], ['night'], [plan.id], [plan.run_id], ['latest']]) {
    const report = await bench.json<Report & { ok: boolean }>(['report', ...wanted]);
    expect(report).toMatchObject({ schema_version: 1, ok: true, verdict: 'failed', plan: { id: plan.id } });
    expect(report.started_at as unknown).toBe(new Date(now).toISOString());
  }
  expect(await bench.json<Report>(['report', 'adhoc'])).toMatchObject({
    ...{ verdict: 'running', plan: null, run: { id: run_id }, sessions: [{ name: 'worker', state: 'queued' }] },
  });
  const text = await bench.run(['report', 'night']);
  expect([text.code, text.stderr]).toEqual([0, '']);
  expect(text.stdout).toStartWith('# FAILED, cancelled: ');
  const asked = await bench.run(['report', '--format', 'json']);
  expect(JSON.parse(asked.stdout)).toMatchObject({ ok: true, verdict: 'failed' });
  expect(readdirSync(world.home).sort()).toEqual(files);
}, 60_000);

test('what was slung after the night does not hide it: without a name the newest plan, `latest` the newest run', async () => {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const now = world.clock.now();
  const plan = await storePlan(world.store, PLAN, now - 60_000);
  const run_id = await world.store.write((tx) => ensureRun(tx, 'adhoc', now));
  expect(await bench.json<Report>(['report'])).toMatchObject({ plan: { id: plan.id } });
  expect(await bench.json<Report>(['report', 'latest'])).toMatchObject({ plan: null, run: { id: run_id } });
  const other = await testStore();
  bench.env.DROVER_HOME = other.home;
  await other.store.write((tx) => ensureRun(tx, 'adhoc', now));
  expect(await bench.json<Report>(['report'])).toMatchObject({ plan: null, run: { name: 'adhoc' } });
}, 60_000);

test('--out: the format is that of the name unless one is given', async () => {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const plan = await storePlan(world.store, PLAN, world.clock.now());
  const read = (name: string) => readFileSync(join(bench.repo, name), 'utf8');
  const said = await bench.run(['report', '--out', 'night.html']);
  expect(said.stdout).toBe(`Running: 1 of 1 step not started.\n${join(bench.repo, 'night.html')}\n`);
  expect(read('night.html')).toStartWith('<!DOCTYPE html>');
  const told = await bench.json(['report', '--out', 'night.txt', '--format', 'json']);
  expect(told).toMatchObject({ verdict: 'running', format: 'json', path: join(bench.repo, 'night.txt') });
  expect(JSON.parse(read('night.txt'))).toMatchObject({ verdict: 'running', run: { id: plan.run_id } });
}, 60_000);

test('what cannot be: an unknown run, an unknown format, two formats at once; and nothing is made by asking', async () => {
  const bench = droverBench();
  const code = async (args: string[], exit: number) =>
    (await bench.json<{ error: { code: string } }>(args, exit)).error.code;
  expect(await code(['report'], 4)).toBe('run_not_found');
  expect(await code(['report', '--format', 'pdf'], 2)).toBe('usage');
  expect(await code(['report', '--format', 'md'], 2)).toBe('usage');
  expect(await code(['report', '--out', 'x.md'], 4)).toBe('run_not_found');
  expect([existsSync(bench.drover_home), existsSync(join(bench.repo, 'x.md'))]).toEqual([false, false]);
  const world = await testStore();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  expect(await code(['report', 'unheard'], 4)).toBe('run_not_found');
  expect(await code(['report'], 4)).toBe('run_not_found');
}, 60_000);

test('an answer that cannot be written is an error, told on standard error: never 0, never a bug', async () => {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const plan = await storePlan(world.store, PLAN, world.clock.now());
  await movePlan(world.store, { id: plan.id, to: 'cancelled', reason: null, now: world.clock.now() });
  for (const args of [
    ['report'],
    ['plan', 'show', 'night'],
    ['plan', 'list'],
    ['plan', 'show', '--graph', 'svg', 'night'],
  ])
    for (const more of [[], ['--json']]) {
      const { code, stderr } = await intoFull(bench, [...args, ...more]);
      expect([args, more, code]).toEqual([args, more, 1]);
      expect(stderr).toContain('output_failed');
      expect(stderr).toContain('ENOSPC');
    }
});

async function intoFull({ repo, env }: Bench, args: string[]): Promise<{ code: number; stderr: string }> {
  const child = Bun.spawn(['sh', '-c', '"$0" "$@" >/dev/full', DROVER, ...args], {
    ...{ cwd: repo, env, stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' },
  });
  return { stderr: await child.stderr.text(), code: await child.exited };
}
