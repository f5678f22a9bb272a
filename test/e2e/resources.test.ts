import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { droverBench, writeConfig } from '../support/drover.ts';
import { groupIn } from '../support/group.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import { ownSeconds } from '../support/own-seconds.ts';
import {
  peek,
  promptOf,
  rehearse,
  sessionOf,
  supervisorLog,
  turnDir,
  turnsOf,
  untilState,
  untilTalking,
} from '../support/peek.ts';
import { until } from '../support/until.ts';

const DONE = { turns: [[{ say: 'done' }]] };

test('what a turn leaves behind is ended, counted and told, and the turn is a success (ARCHITECTURE §1.4)', async () => {
  const bench = droverBench();
  // A dev server in a session of its own, and one that cleared its environment and keeps our output open.
  const seconds = ownSeconds();
  const ms = Math.round(Number(seconds) * 1_000);
  const server = [{ daemon: ms }, { daemon: { ms, clean_env: true, stdout: 'close' } }];
  await rehearse(bench, 'serves', { turns: [[...server, { say: 'it listens' }]] });
  await rehearse(bench, 'tidy', DONE);
  for (const name of ['serves', 'tidy']) await untilState(bench, name, 'completed');
  await assertNoLeaks(seconds);
  const [left] = turnsOf(bench, 'serves');
  expect(left).toMatchObject({ outcome: 'completed', tree_empty: 1, survivors: 0, end_cause: null });
  expect(left?.leftovers).toBeGreaterThanOrEqual(1);
  expect(turnsOf(bench, 'tidy')[0]).toMatchObject({ outcome: 'completed', leftovers: 0 });
  const count = left?.leftovers ?? 0;
  const word = count === 1 ? 'process' : 'processes';
  expect((await bench.run(['logs', 'serves'])).stdout).toContain(`(ok), ended ${count} ${word} left behind ──`);
  expect((await bench.run(['logs', 'tidy'])).stdout).toContain('completed (ok) ──');
  expect((await bench.run(['show', 'serves'])).stdout).toMatch(new RegExp(`1 +completed +ok .* ${count} +\\d+`));
  expect(existsSync(groupIn(turnDir(bench, 'serves')) ?? '/nowhere')).toBe(false);
}, 60_000);

test('what drover itself ends is not counted as left behind', async () => {
  const bench = droverBench();
  const seconds = ownSeconds();
  const daemon = { daemon: Math.round(Number(seconds) * 1_000) };
  await rehearse(bench, 'ended', { turns: [[daemon, { say: 'here' }, 'hang']] });
  await untilTalking(bench, 'ended');
  await bench.json(['stop', 'ended']);
  await assertNoLeaks(seconds);
  await until('its turn is over', () => turnsOf(bench, 'ended')[0]?.ended_at);
  expect(turnsOf(bench, 'ended')[0]).toMatchObject({ end_cause: 'stop', leftovers: 0 });
}, 60_000);

interface Status {
  disk_low: boolean;
}

test('below the disk floor no turn starts, running ones go on, and it goes on by itself', async () => {
  const bench = droverBench();
  const go = join(bench.home, 'go');
  await rehearse(bench, 'runs', { turns: [[{ say: 'here' }, { wait_for_file: go }, { say: 'done' }]] });
  await untilTalking(bench, 'runs');
  // No disk has as much.
  writeConfig(bench.home, { limits: { min_free_mb: 1_000_000_000 } });
  await rehearse(bench, 'waits', DONE);
  const low = () =>
    supervisorLog(bench)
      .split('\n')
      .filter((line) => line.includes('disk low'));
  await until('the refusal', () => low().length > 0);
  await Bun.write(go, '');
  await untilState(bench, 'runs', 'completed');
  expect(sessionOf(bench, 'waits')).toMatchObject({ state: 'queued', turn: 0 });
  expect(await bench.json<Status>(['status'])).toMatchObject({ disk_low: true });
  expect((await bench.run(['status'])).stderr).toContain('disk low');
  expect((await bench.run(['ps'])).stdout).toContain('disk low');
  expect(low()).toHaveLength(1);
  writeConfig(bench.home, { limits: { min_free_mb: 1 } });
  await untilState(bench, 'waits', 'completed');
  expect(supervisorLog(bench)).toContain('turns start again');
  expect(await bench.json<Status>(['status'])).toMatchObject({ disk_low: false });
  expect((await bench.run(['ps'])).stdout).not.toContain('disk low');
}, 60_000);

test('a turn beyond limits.memory_mb is parked with its figures, and the next one is told (budget)', async () => {
  const bench = droverBench({ config: { limits: { memory_mb: 400 }, watchdog: { interval_ms: 1_000 } } });
  const mark = ownSeconds();
  const hog = `${process.execPath} -e "const held = Buffer.alloc(500 * 1048576, 1); setInterval(() => held, 1000)" ${mark}`;
  await rehearse(bench, 'hog', { turns: [[{ say: 'here' }, { run: hog }], [{ say: 'better' }]] });
  const parked = await untilState(bench, 'hog', 'parked', 30_000);
  expect(parked).toMatchObject({ parked_reason: 'budget', resume_at: null });
  expect(JSON.parse(parked.parked_evidence ?? '')).toMatchObject({ kind: 'memory', cap_bytes: 400 * 1_048_576 });
  await until('its turn is over', () => turnsOf(bench, 'hog')[0]?.ended_at);
  await assertNoLeaks(mark);
  expect(leaksOf(mark)).toEqual([]);
  expect(turnsOf(bench, 'hog')[0]).toMatchObject({ end_cause: 'pause', outcome: 'cancelled', tree_empty: 1 });
  // It is ended as soon as it is seen beyond its limit, which may be before it has all that it wants.
  expect(turnsOf(bench, 'hog')[0]?.peak_memory_bytes).toBeGreaterThan(400 * 1_048_576);
  expect(peek(bench, 'SELECT cause, act FROM verdicts')).toContainEqual({ cause: 'memory', act: 'end' });
  expect((await bench.run(['wait', 'hog'])).code).toBe(75);
  expect((await bench.run(['show', 'hog'])).stdout).toMatch(/PEAK MEMORY +CPU[\s\S]* [4-9]\d\d MB /);
  await bench.json(['resume', 'hog']);
  await untilState(bench, 'hog', 'completed');
  expect(promptOf(bench, 'hog', 2)).toMatch(
    /parked: budget: its processes used \d{3} MB of memory, limits\.memory_mb allows 400 MB/,
  );
}, 60_000);
