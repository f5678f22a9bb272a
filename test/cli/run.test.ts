import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { ensureRun, listRuns, type RunRow } from '../../src/store/run.ts';
import { droverBench } from '../support/drover.ts';
import { endTurn, seedSession, takeTurn, testStore } from '../support/store.ts';

test('run list, current, show and complete (O-78)', async () => {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const now = world.clock.now();
  const id = await world.store.write((tx) => ensureRun(tx, 'nightly', now));
  await world.store.write((tx) => ensureRun(tx, 'weekly', now - 60_000));
  const session = await seedSession(world, { run_id: id, name: 'worker' });
  const list = await bench.json<{ runs: RunRow[] }>(['run', 'list']);
  expect(list.runs.map((run) => [run.name, run.status, run.agent_count])).toEqual([
    ['nightly', 'active', 1],
    ['weekly', 'active', 0],
  ]);
  expect(list.runs[0]).toMatchObject({ started_at: expect.stringMatching(/^\d{4}-.*Z$/), completed_at: null });
  expect(await bench.json(['run', 'current'])).toMatchObject({ run: { id } });
  expect(await bench.json(['run', 'show', 'nightly'])).toMatchObject({ run: { id }, sessions: [{ id: session.id }] });
  expect((await bench.run(['run', 'show', id])).stdout).toContain('worker');
  const done = await bench.run(['run', 'complete', 'nightly', '--failed']);
  expect(done).toMatchObject({ code: 0, stdout: 'nightly: failed, 1 sessions\n' });
  expect(done.stderr).toContain('1 of them are live');
  expect((await bench.json<{ error: { code: string } }>(['run', 'complete', id], 3)).error.code).toBe('run_ended');
  expect(await bench.json(['run', 'list', '--active'])).toMatchObject({ runs: [{ name: 'weekly' }] });
  expect((await bench.run(['run'])).stdout).toContain('weekly');
});

test('before anything was stored there are no runs, and reading creates nothing (H-09)', async () => {
  const bench = droverBench();
  expect(await bench.json<{ runs: RunRow[] }>(['run', 'list'])).toMatchObject({ runs: [] });
  expect(await bench.json(['run', 'current'])).toMatchObject({ run: null });
  expect((await bench.json<{ error: { code: string } }>(['run', 'show', 'nightly'], 4)).error.code).toBe(
    'run_not_found',
  );
  expect((await bench.run(['run', 'list', '--limit', 'x'])).code).toBe(2);
  expect(existsSync(bench.drover_home)).toBe(false);
});

test('run create, add and remove; it closes with its last session (O-82)', async () => {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const code = async (args: string[], exit: number) =>
    (await bench.json<{ error: { code: string } }>(['run', ...args], exit)).error.code;
  const made = await bench.run(['run', 'create', 'cleanup']);
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^cleanup \(run-\w+\) is active/) });
  expect(await code(['create', 'cleanup'], 3)).toBe('run_name_taken');
  expect(await code(['create', 'No Name'], 2)).toBe('run_name_invalid');
  const [one, two] = [await seedSession(world, { name: 'one' }), await seedSession(world, { name: 'two' })];
  expect((await bench.run(['run', 'add', 'cleanup', 'one', two.id])).stdout).toBe('cleanup: 2 added; 2 of 2 live\n');
  expect(await bench.json(['run', 'remove', 'cleanup', 'two'])).toMatchObject({
    ...{ schema_version: 1, changed: [two.id], run: { name: 'cleanup', status: 'active', agent_count: 1 } },
  });
  expect(await code(['remove', 'cleanup', 'two'], 3)).toBe('not_in_run');
  expect(await code(['add', 'cleanup'], 2)).toBe('usage');
  expect(await code(['add', 'cleanup', 'nobody'], 4)).toBe('session_not_found');
  expect(await code(['add', 'nothing', 'two'], 4)).toBe('run_not_found');
  await endTurn(world, await takeTurn(world, one.id));
  expect(await bench.json(['run', 'show', 'cleanup'])).toMatchObject({
    run: { status: 'completed', live_count: 0 },
    sessions: [{ id: one.id }],
  });
  expect(await code(['add', 'cleanup', 'two'], 3)).toBe('run_ended');
});

test('a session starts no empty run, adds nobody and removes nobody, itself included (O-82)', async () => {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const run = await world.store.write((tx) => ensureRun(tx, 'mine', 1));
  await seedSession(world, { name: 'two' });
  const chief = await seedSession(world, { name: 'chief', role: 'coordinator', run_id: run });
  const { token } = await takeTurn(world, chief.id);
  Object.assign(bench.env, { DROVER_TOKEN: token, DROVER_SESSION_ID: chief.id });
  for (const args of [
    ['create', 'more'],
    ['add', 'mine', 'two'],
    ['remove', 'mine', 'chief'],
  ])
    expect(await bench.json(['run', ...args], 3)).toMatchObject({ error: { code: 'not_allowed' } });
  // Nor does it end a run that it is not in.
  await world.store.write((tx) => ensureRun(tx, 'theirs', 2));
  expect(await bench.json(['run', 'complete', 'theirs'], 3)).toMatchObject({ error: { code: 'not_allowed' } });
  expect((await listRuns(world.store)).map(({ status }) => status)).toEqual(['active', 'active']);
  expect(await bench.json(['run', 'complete', 'mine'])).toMatchObject({ run: { id: run, status: 'completed' } });
});

test('adding where nothing was ever stored makes no home; help has examples and exit codes (O-82, H-09)', async () => {
  const bench = droverBench();
  for (const act of ['add', 'remove'])
    expect(await bench.json(['run', act, 'cleanup', 'one'], 4)).toMatchObject({ error: { code: 'run_not_found' } });
  expect(existsSync(bench.drover_home)).toBe(false);
  const help = (await bench.run(['run', '--help'])).stdout;
  for (const words of ['drover run create cleanup', 'drover run add cleanup build-1', 'Exit codes:', 'by itself'])
    expect(help).toContain(words);
});
