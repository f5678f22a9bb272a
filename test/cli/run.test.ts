import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { ensureRun, type RunRow } from '../../src/store/run.ts';
import { droverBench } from '../support/drover.ts';
import { seedSession, testStore } from '../support/store.ts';

test('run list, current, show and complete (O-78)', async () => {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
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
