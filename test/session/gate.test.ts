import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { newSecret } from '../../src/model/id.ts';
import { endProcesses, type GateRun, runGates } from '../../src/session/gate.ts';
import { makeGroup, probeCgroup } from '../../src/sys/cgroup.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { isZombie, processStat } from '../../src/sys/identity.ts';
import { NO_GROUPS } from '../support/group.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

function run(commands: string[], more: Partial<GateRun> = {}) {
  const cwd = tempDir('gate');
  const deps = { clock: systemClock, home: cwd, env: { PATH: process.env.PATH } };
  const log = join(cwd, 'log');
  return { cwd, log, done: runGates(deps, { commands, cwd, timeout_ms: 20_000, log, marker: newSecret(), ...more }) };
}

test('gates run in order until one fails; both streams are kept in the order they came', async () => {
  const { cwd, log, done } = run(['echo out; echo err >&2; echo more', 'echo two; exit 3', 'touch never']);
  expect(await done).toEqual({
    verdict: 'red',
    command: 'echo two; exit 3',
    reason: 'exit code 3',
    output: 'out\nerr\nmore\ntwo',
  });
  expect(readFileSync(log, 'utf8')).toBe('out\nerr\nmore\ntwo\n');
  expect(existsSync(join(cwd, 'never'))).toBe(false);
});

test('of a long output the end is kept', async () => {
  const { output } = await run(['seq 1 20000; false']).done;
  expect(output.endsWith('\n19999\n20000')).toBe(true);
  expect(output.length).toBeLessThanOrEqual(16 * 1024);
});

test('a gate that is green leaves no process behind, one that is killed is red', async () => {
  const green = run(['setsid sleep 300 & sleep 0.05']);
  expect(await green.done).toMatchObject({ verdict: 'green', command: null });
  await assertNoLeaks(green.cwd, 0);
  expect(await run(['kill -9 $$']).done).toMatchObject({ verdict: 'red', reason: 'exit code 137 (SIGKILL)' });
});

test('nothing is started for somebody who has given up already', async () => {
  const { cwd, done } = run(['touch started'], { signal: AbortSignal.abort() });
  expect(await done).toMatchObject({ verdict: 'interrupted' });
  expect(existsSync(join(cwd, 'started'))).toBe(false);
});

test('a gate that ends its parent is red, and whoever runs it goes on', async () => {
  const killed = run(['kill -9 $PPID; sleep 300', 'touch never']);
  expect(await killed.done).toMatchObject({ verdict: 'red', reason: 'it ended the shell that ran it' });
  expect(existsSync(join(killed.cwd, 'never'))).toBe(false);
  await assertNoLeaks(killed.cwd, 0);
  expect(await run(['kill -9 0']).done).toMatchObject({ verdict: 'red', reason: 'it ended the shell that ran it' });
  const parent = run(['echo $PPID']);
  await parent.done;
  expect(Number(readFileSync(parent.log, 'utf8'))).not.toBe(process.pid);
});

test('a gate says nothing through the shell around it', async () => {
  expect(await run(['echo 0 >&3; exit 5']).done).toMatchObject({ verdict: 'red', reason: 'exit code 5' });
});

function isRunning(pid: number): boolean {
  const stat = processStat(pid);
  return stat !== null && !isZombie(stat);
}

/** Its environment is clean, its session its own, and its parents are gone before the gate is. Its pid is in `pid`. */
const FUGITIVE = `(env -i setsid /bin/sh -c 'echo $$ >pid; trap "" TERM; while :; do /bin/sleep 1; done' >/dev/null 2>&1 &)`;

test.skipIf(NO_GROUPS !== '')(
  `what scrubs its environment, leaves the session and loses its parents does not outlive its gate${NO_GROUPS}`,
  async () => {
    const wait = 'while [ ! -s pid ]; do sleep 0.02; done';
    for (const [end, verdict] of [
      ['true', 'green'],
      ['sleep 300', 'red'],
    ] as const) {
      const gate = run([`${FUGITIVE}; ${wait}; cat /proc/self/cgroup; ${end}`], { timeout_ms: 3_000 });
      expect(await gate.done).toMatchObject({ verdict });
      const pid = Number(readFileSync(join(gate.cwd, 'pid'), 'utf8'));
      expect(isRunning(pid)).toBe(false);
      const [, name = 'none'] =
        /0::.*\/(drover-[0-9a-f]{8}-gate-[0-9a-f]{24})$/m.exec(readFileSync(gate.log, 'utf8')) ?? [];
      expect(name).not.toBe('none');
      expect(existsSync(`${probeCgroup().base}/${name}`)).toBe(false);
    }
  },
  30_000,
);

test.skipIf(NO_GROUPS !== '')(
  `whoever comes after the death of who ran a gate finds the same${NO_GROUPS}`,
  async () => {
    const cwd = tempDir('gate');
    const marker = newSecret();
    const group = makeGroup(cwd, marker, 'gate') ?? '';
    await Bun.spawn(['sh', '-c', FUGITIVE], { cwd, cgroup: group }).exited;
    await until('the fugitive', () => existsSync(join(cwd, 'pid')) && readFileSync(join(cwd, 'pid'), 'utf8') !== '');
    await endProcesses({ clock: systemClock }, marker);
    expect(isRunning(Number(readFileSync(join(cwd, 'pid'), 'utf8')))).toBe(false);
    expect(existsSync(group)).toBe(false);
  },
);
