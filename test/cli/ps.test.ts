import { expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { droverBench } from '../support/drover.ts';
import { until } from '../support/until.ts';

interface Ps {
  supervisor: { state: string; pid: number | null; version: string | null; rss_bytes: number; log: string };
  turns: {
    name: string;
    turn: number;
    launcher_pid: number;
    harness_pids: number[];
    processes: number;
    rss_bytes: number;
    started_at: string;
  }[];
}

test('ps without a supervisor says so, exits 0 and creates nothing (H-09)', async () => {
  const bench = droverBench();
  const none = await bench.run(['ps']);
  expect(none).toEqual({
    code: 0,
    stdout: 'supervisor: none is up\nwatchdog: none is up\nno turn is in flight\n',
    stderr: '',
  });
  expect(await bench.json<Ps>(['ps'])).toMatchObject({
    supervisor: { state: 'down', pid: null, version: null },
    turns: [],
  });
  expect(existsSync(bench.drover_home)).toBe(false);
});

test('ps shows the supervisor and the tree of every turn in flight, and what is left when the supervisor is gone', async () => {
  const bench = droverBench();
  const gate = join(bench.home, 'go');
  const script = bench.script('waits', {
    turns: [[{ say: 'here' }, { run: `while [ ! -e ${gate} ]; do sleep 0.05; done` }]],
  });
  bench.env.DROVER_REHEARSAL_SCRIPT = script;
  await bench.json(['sling', '--harness', 'rehearsal', '--name', 'worker', 'wait for it']);
  const ps = await until('the tree of the turn', async () => {
    const seen = await bench.json<Ps>(['ps']);
    return (seen.turns[0]?.processes ?? 0) >= 4 ? seen : null;
  });
  expect(ps.supervisor).toMatchObject({
    state: 'up',
    version: expect.stringMatching(/^\d/),
    log: join(bench.drover_home, 'run/supervisor.log'),
  });
  expect(existsSync(`/proc/${ps.supervisor.pid}`)).toBe(true);
  expect(ps.supervisor.rss_bytes).toBeGreaterThan(1_000_000);
  const [turn] = ps.turns;
  expect(turn).toMatchObject({ name: 'worker', turn: 1, started_at: expect.stringMatching(/Z$/) });
  expect(turn?.harness_pids).toHaveLength(1);
  expect(turn?.rss_bytes).toBeGreaterThan(10_000_000);
  expect((await bench.run(['ps'])).stdout).toMatch(/worker +(?:booting|working) +1 +\d+ +\d+ +\d+ +\d+ MB/);
  await bench.run(['down']);
  const orphaned = await bench.run(['ps']);
  expect(orphaned.stdout).toContain('none is up; `drover up` starts one, which adopts the turns below');
  expect(orphaned.stdout).toContain(String(turn?.launcher_pid));
  writeFileSync(gate, '');
  await until('the turn’s end', async () => ((await bench.json<Ps>(['ps'])).turns[0]?.processes ?? 0) === 0);
  await bench.down();
  expect(await bench.json<Ps>(['ps'])).toMatchObject({ supervisor: { state: 'down' }, turns: [] });
}, 60_000);
