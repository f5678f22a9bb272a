import { afterEach, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { systemClock } from '../../src/sys/clock.ts';
import { ownIdentity, type ProcessId, processStat } from '../../src/sys/identity.ts';
import { launchTurn } from '../../src/sys/launch.ts';
import { residentBytes } from '../../src/sys/memory.ts';
import { sampleTrees } from '../../src/sys/sample.ts';
import { killTree, treeOf } from '../../src/sys/tree.ts';
import { turnFiles, turnProcesses } from '../../src/sys/turn-files.ts';
import { NO_GROUPS, withoutGroup } from '../support/group.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const PATH = '/usr/bin:/bin';
const running: { dir: string; marker: string }[] = [];

async function start(program: string, args: string[], options = { is_grouped: false }) {
  const dir = tempDir();
  const marker = `sample-${dir}`;
  const turn = { dir, program, args, cwd: '/', env: { PATH }, stdin_path: null, marker };
  const { identity, exited } = launchTurn(turn);
  running.push({ dir, marker });
  await until('ready', () => readFileSync(turnFiles(dir).stdout, 'utf8').includes('ready'));
  if (!options.is_grouped) withoutGroup(dir);
  return { dir, marker, identity, launcher: identity, exited };
}

afterEach(async () => {
  for (const { dir, marker } of running.splice(0))
    await killTree(turnProcesses(dir, marker), { clock: systemClock, first_signal: 'SIGKILL', spare_ms: 0 });
});

const sh = (script: string, options?: { is_grouped: boolean }) => start('/bin/sh', ['-c', script], options);
const programs = (turn: Awaited<ReturnType<typeof start>>) =>
  treeOf(turn)
    .map(({ pid }) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim())
    .sort()
    .join();
const sampleOf = (id: ProcessId) => sampleTrees([id]).get(id.pid) ?? { processes: 0, rss_bytes: 0, cpu_ms: 0 };

test('sample: several turns in one pass, each with its own processes and memory', async () => {
  const one = await sh('sleep 60 & setsid sh -c "sleep 60; :" & echo ready; sleep 60');
  const two = await sh('echo ready; sleep 60; :');
  await until(
    'all of them are what they are to be',
    () => programs(one) === 'sh,sh,sh,sleep,sleep,sleep' && programs(two) === 'sh,sh,sleep',
  );
  const samples = sampleTrees([one.identity, two.identity]);
  expect([...samples.keys()].sort()).toEqual([one.identity.pid, two.identity.pid].sort());
  // Launcher, shell, two sleeps of its session; a shell in a session of its own and its sleep.
  expect([samples.get(one.identity.pid)?.processes, samples.get(two.identity.pid)?.processes]).toEqual([6, 3]);
  const resident = treeOf(one).reduce((sum, { pid }) => sum + residentBytes(pid), 0);
  const { rss_bytes = 0 } = samples.get(one.identity.pid) ?? {};
  // The kernel counts pages in batches per CPU: both figures may be behind by some of them.
  expect(Math.abs(rss_bytes - resident)).toBeLessThan(resident / 4);
});

test('sample: memory and CPU of what a turn really uses', async () => {
  const burn =
    'const b = Buffer.alloc(100e6, 1); while (process.cpuUsage().user < 200e3); console.log("ready"); setInterval(() => b, 1000)';
  const turn = await start(process.execPath, ['-e', burn]);
  const sample = sampleOf(turn.identity);
  expect(sample.rss_bytes).toBeGreaterThan(100e6);
  expect(sample.rss_bytes).toBeLessThan(500e6);
  expect(sample.cpu_ms).toBeGreaterThanOrEqual(150);
  expect(sample.cpu_ms).toBeLessThan(5_000);
}, 60_000);

test('sample: CPU of children that have ended and were collected stays counted', async () => {
  const turn = await sh('sh -c "i=0; while [ \\$i -lt 300000 ]; do i=\\$((i+1)); done"; echo ready; sleep 60');
  expect(sampleOf(turn.identity).cpu_ms).toBeGreaterThanOrEqual(50);
}, 60_000);

test('sample: a launcher that is not proven by start time and boot has no sample (I23)', async () => {
  const { identity } = await sh('echo ready; sleep 60');
  const wrong = [
    { ...identity, start_time: `${Number(identity.start_time) - 1}` },
    { ...identity, boot_id: 'another' },
    { ...ownIdentity(), start_time: '1' },
  ];
  for (const id of wrong) expect(sampleTrees([id]).size).toBe(0);
  expect(sampleTrees([]).size).toBe(0);
  expect(sampleTrees([...wrong, identity]).size).toBe(1);
});

const DAEMON = 'setsid sh -c "sleep 61 & sleep 62; :" & echo $!; sleep 0.05; echo ready; read -r _; sleep 60';

test.skipIf(NO_GROUPS !== '')(
  `sample: what lost its parents counts while the turn has a control group${NO_GROUPS}`,
  async () => {
    for (const is_grouped of [true, false]) {
      const turn = await sh(`(${DAEMON.replace('read -r _; sleep 60', ':')}); sleep 60`, { is_grouped });
      const daemon = Number.parseInt(readFileSync(turnFiles(turn.dir).stdout, 'utf8'), 10);
      await until('an orphan', () => processStat(daemon)?.parent === 1 && treeOf(turn).length >= 6);
      expect(sampleOf(turn.identity).processes).toBe(is_grouped ? 6 : 3);
    }
  },
);
