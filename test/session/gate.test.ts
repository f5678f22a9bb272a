import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { newSecret } from '../../src/model/id.ts';
import { type GateRun, runGates } from '../../src/session/gate.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';

function run(commands: string[], more: Partial<GateRun> = {}) {
  const cwd = tempDir('gate');
  const deps = { clock: systemClock, env: { PATH: process.env.PATH } };
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
  expect(await run(['kill -9 $$']).done).toMatchObject({ verdict: 'red', reason: 'ended by SIGKILL' });
});

test('nothing is started for somebody who has given up already', async () => {
  const { cwd, done } = run(['touch started'], { signal: AbortSignal.abort() });
  expect(await done).toMatchObject({ verdict: 'interrupted' });
  expect(existsSync(join(cwd, 'started'))).toBe(false);
});
