import { expect, test } from 'bun:test';
import { closeSync, existsSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { bootId, identityOf, isGone, type ProcessId, signal } from '../../src/sys/identity.ts';
import { holdTurn, launchTurn, type TurnLaunch } from '../../src/sys/launch.ts';
import { treeOf } from '../../src/sys/tree.ts';
import { liveHeld, readExit, readPid, turnFiles } from '../../src/sys/turn-files.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const PATH = '/usr/bin:/bin';
const LAUNCHER = resolve(import.meta.dir, '../../src/sys/launcher.sh');
const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .flatMap((child) => identityOf(Number(child) || -1) ?? []);
const stdout = (dir: string) => readFileSync(turnFiles(dir).stdout, 'utf8');
const stderr = (dir: string) => readFileSync(turnFiles(dir).stderr, 'utf8');

test('launch: held, it is ready and locked, says nothing and runs nothing until it is told', async () => {
  const dir = tempDir();
  const prompt = join(dir, 'prompt');
  writeFileSync(prompt, '');
  const turn: TurnLaunch = { dir, program: 'cat', args: [], cwd: dir, env: { PATH }, stdin_path: prompt, marker: dir };
  const held = holdTurn(turn);
  expect(() => holdTurn(turn)).toThrow(expect.objectContaining({ code: 'turn_already_running' }));
  const [waiting] = await until('the launcher', () => {
    const found = treeOf({ marker: dir, launcher: null });
    return found.length === 1 && existsSync(turnFiles(dir).pid) ? found : null;
  });
  expect([liveHeld(dir), readPid(dir), readExit(dir), stdout(dir)]).toEqual([true, null, null, '']);
  writeFileSync(prompt, 'what to do');
  const launched = held.run();
  expect(launched?.identity).toEqual(waiting as ProcessId);
  await launched?.exited;
  held.drop();
  expect([stdout(dir), readExit(dir)?.code, readPid(dir)]).toEqual(['what to do', 0, waiting as ProcessId]);
});

test('launch: dropped, it leaves the lock at once, ends, and has run nothing', async () => {
  const dir = tempDir();
  const turn = { dir, program: 'sh', args: ['-c', 'echo ran'], cwd: dir, env: { PATH }, stdin_path: null, marker: dir };
  const held = holdTurn(turn);
  held.drop();
  expect(liveHeld(dir)).toBe(false);
  held.drop();
  await assertNoLeaks(dir);
  expect([stdout(dir), readExit(dir), readPid(dir)]).toEqual(['', null, null]);
  await launchTurn(turn).exited;
  expect(stdout(dir)).toBe('ran\n');
});

test('launch: of a launcher that was killed while it waited, it is told that nothing has run', async () => {
  const dir = tempDir();
  const held = holdTurn({
    ...{ dir, program: 'sh', args: ['-c', 'echo ran'], cwd: dir, env: { PATH }, stdin_path: null, marker: dir },
  });
  const [waiting] = await until('the launcher', () => {
    const found = treeOf({ marker: dir, launcher: null });
    return found.length === 1 ? found : null;
  });
  expect(waiting !== undefined && signal(waiting, 'SIGKILL')).toBe(true);
  await until('its end', () => waiting === undefined || isGone(waiting));
  expect(held.run()).toBeNull();
  expect([liveHeld(dir), stdout(dir), readPid(dir)]).toEqual([false, '', null]);
});

test('launch: a launcher whose starter died before it was told ends without having run anything (O-54)', async () => {
  const dir = tempDir();
  const script = `import { holdTurn } from ${JSON.stringify(resolve(import.meta.dir, '../../src/sys/launch.ts'))};
    holdTurn({ dir: ${JSON.stringify(dir)}, program: '/bin/echo', args: ['ran'], cwd: '/', env: { PATH: ${JSON.stringify(PATH)} },
      stdin_path: null, marker: ${JSON.stringify(dir)} });
    console.log('held'); setInterval(() => {}, 1000);`;
  const starter = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' });
  for await (const _ of starter.stdout) break;
  expect(liveHeld(dir)).toBe(true);
  starter.kill('SIGKILL');
  await starter.exited;
  await until('the lock', () => !liveHeld(dir));
  await assertNoLeaks(dir);
  expect([stdout(dir), stderr(dir), readExit(dir), readPid(dir)]).toEqual(['', '', null, null]);
});

test('launch: the harness has the sign of life, and nothing of what its launcher was told by', async () => {
  const dir = tempDir();
  const args = ['-c', 'for fd in 3 4 5; do [ -e /proc/$$/fd/$fd ] && echo $fd; done'];
  await launchTurn({ dir, program: 'sh', args, cwd: dir, env: { PATH }, stdin_path: null, marker: dir }).exited;
  expect(stdout(dir)).toBe('3\n');
});

test('launch: a launcher whose starter died the moment it was told writes who it is itself', async () => {
  for (const before of [null, '']) {
    const dir = tempDir();
    const { pid: path } = turnFiles(dir);
    if (before !== null) writeFileSync(path, before);
    const child = Bun.spawn(['/bin/sh', LAUNCHER, dir, bootId(), '--', '/bin/sleep', '60'], {
      stdio: ['ignore', 'ignore', 'ignore', null, 'pipe'],
    });
    const { pid, start_time, boot_id } = identityOf(child.pid) ?? {};
    const word = Number(child.stdio[4]);
    writeSync(word, `${start_time}\n`);
    closeSync(word);
    const text = await until('the record', () => (existsSync(path) && readFileSync(path, 'utf8')) || null);
    expect(text).toBe(`${JSON.stringify({ pid, start_time, boot_id })}\n`);
    await until('the harness', () => childrenOf(child.pid).length === 1);
    for (const id of childrenOf(child.pid)) signal(id, 'SIGKILL');
    await child.exited;
  }
});
