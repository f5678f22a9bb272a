import { afterEach, expect, test } from 'bun:test';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { removeGroup } from '../../src/sys/cgroup.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { identityOf, isGone, liveness, processStat, signal } from '../../src/sys/identity.ts';
import { type LaunchedTurn, launchTurn, prepareTurn, type TurnLaunch } from '../../src/sys/launch.ts';
import { killTree } from '../../src/sys/tree.ts';
import { liveHeld, readExit, readPid, turnFiles } from '../../src/sys/turn-files.ts';
import { groupIn } from '../support/group.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const PATH = '/usr/bin:/bin';
const LAUNCHER = resolve(import.meta.dir, '../../src/sys/launcher.sh');
const launched: [LaunchedTurn, string][] = [];

function launch(part: Partial<TurnLaunch>): { turn: LaunchedTurn; dir: string; marker: string } {
  const dir = part.dir ?? tempDir();
  const marker = part.marker ?? `marker-${dir}`;
  const base: TurnLaunch = { dir, program: 'sh', args: [], cwd: dir, env: { PATH }, stdin_path: null, marker };
  const turn = launchTurn({ ...base, ...part });
  launched.push([turn, marker]);
  return { turn, dir, marker };
}

const sh = (script: string, part: Partial<TurnLaunch> = {}) => launch({ args: ['-c', script], ...part });
/** A launcher that was told to go on before it began. */
function told(command: string[], cwd = '/') {
  const word = join(tempDir(), 'word');
  writeFileSync(word, '1234\n');
  return Bun.spawnSync(['/bin/sh', '-c', 'exec 4<"$0"; exec "$@"', word, ...command], { cwd });
}
const stdout = (dir: string) => readFileSync(turnFiles(dir).stdout, 'utf8');
const stderr = (dir: string) => readFileSync(turnFiles(dir).stderr, 'utf8');

afterEach(async () => {
  for (const [turn, marker] of launched.splice(0)) {
    await killTree({ marker, launcher: turn.identity }, { clock: systemClock, first_signal: 'SIGKILL', spare_ms: 0 });
    await turn.exited;
    await assertNoLeaks(marker);
  }
});

test('launch: output, identity and exit code are in the turn’s files (O-66)', async () => {
  const { turn, dir } = sh('echo out; echo err >&2; exit 7');
  await turn.exited;
  expect(stdout(dir)).toBe('out\n');
  expect(stderr(dir)).toBe('err\n');
  expect(readPid(dir)).toEqual(turn.identity);
  const exit = readExit(dir);
  expect(exit).toMatchObject({ code: 7, signal: null });
  expect(Math.abs((exit?.ended_at ?? 0) - Date.now())).toBeLessThan(10_000);
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;
  expect(Math.abs((exit?.uptime_ms ?? 0) - uptime)).toBeLessThan(10_000);
  expect(isGone(turn.identity)).toBe(true);
});

test('launch: a second turn in the same directory appends', async () => {
  const { turn, dir } = sh('echo one');
  await turn.exited;
  await sh('echo two', { dir }).turn.exited;
  expect(stdout(dir)).toBe('one\ntwo\n');
});

test('launch: an end by signal has the signal’s name', async () => {
  for (const name of ['TERM', 'KILL', 'INT', 'SEGV']) {
    const { turn, dir } = sh(`kill -${name} $$`);
    await turn.exited;
    expect(readExit(dir)).toMatchObject({ code: null, signal: `SIG${name}` });
  }
});

test('launch: exit codes that are no signal stay codes', async () => {
  for (const code of [0, 1, 127, 128, 255]) {
    const { turn, dir } = sh(`exit ${code}`);
    await turn.exited;
    expect(readExit(dir)).toMatchObject({ code, signal: null });
  }
});

test('launch: the environment is the given one and the marker', async () => {
  const env = { PATH, ODD: 'a\'b"c $(id)\n`x`', EMPTY: '', HOME: '/nowhere' };
  const { turn, dir, marker } = launch({ program: 'env', args: ['-0'], env });
  await turn.exited;
  const seen = Object.fromEntries(
    stdout(dir)
      .split('\0')
      .filter(Boolean)
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
  expect(seen).toEqual({ ...env, DROVER_TURN_MARKER: marker, PWD: dir });
});

test('launch: arguments, directory names and stdin pass unchanged, whatever is in them', async () => {
  const dir = join(tempDir(), 'a \'b" $(touch pwned) `x`\n;é');
  await Bun.write(join(dir, 'prompt'), 'first\nsecond');
  const args = ['-c', 'for a; do printf "<%s>" "$a"; done; cat', 'x', '', ' ', '*', '$HOME', 'a\nb', "'", '--', '-n'];
  const { turn } = launch({ dir, args, stdin_path: join(dir, 'prompt') });
  await turn.exited;
  expect(stdout(dir)).toBe("<>< ><*><$HOME><a\nb><'><--><-n>first\nsecond");
  expect(existsSync(join(dir, 'pwned'))).toBe(false);
  expect(readExit(dir)?.code).toBe(0);
});

test('launch: without a stdin file there is nothing to read (E-036)', async () => {
  const { turn, dir } = sh('cat; echo end');
  await turn.exited;
  expect(stdout(dir)).toBe('end\n');
});

test('launch: a session of its own, of which the launcher is the leader (E-052)', async () => {
  const { turn, dir } = sh('echo $$; exec sleep 60');
  const pid = Number(await until('the harness', () => stdout(dir).trim()));
  expect(processStat(pid)?.session).toBe(turn.identity.pid);
  expect(processStat(turn.identity.pid)?.session).toBe(turn.identity.pid);
  expect(processStat(process.pid)?.session).not.toBe(turn.identity.pid);
});

test('launch: the harness is not born deaf: no signal is ignored or blocked', async () => {
  const { turn, dir } = launch({ program: 'grep', args: ['-E', 'Sig(Ign|Blk)', '/proc/self/status'] });
  await turn.exited;
  expect(stdout(dir)).toMatch(/SigBlk:\t0+\nSigIgn:\t0+\n/);
});

test('launch: the launcher outlives the signals that end the harness and records the end', async () => {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
    const { turn, dir } = sh(`ulimit -c 0; echo $$; exec sleep 60`);
    await until('the harness', () => stdout(dir) !== '');
    // The whole process group at once, as a terminal or an impatient operator would.
    expect(turn.identity.pid).toBeGreaterThan(1);
    process.kill(-turn.identity.pid, name);
    await turn.exited;
    expect(readExit(dir)).toMatchObject({ code: null, signal: name });
  }
});

test('launch: the lock lives exactly as long as launcher or harness; a second start is refused', async () => {
  const { turn, dir } = sh('echo $$; exec sleep 60');
  const harness = await until('the harness', () => identityOf(Number(stdout(dir).trim() || -1)));
  expect(liveHeld(dir)).toBe(true);
  expect(() => sh('true', { dir })).toThrow(expect.objectContaining({ code: 'turn_already_running' }));
  signal(turn.identity, 'SIGKILL');
  await turn.exited;
  expect(liveHeld(dir)).toBe(true);
  expect(readExit(dir)).toBeNull();
  expect(signal(harness, 'SIGKILL')).toBe(true);
  await until('the lock', () => !liveHeld(dir));
  expect(isGone(harness)).toBe(true);
});

test('launch: a program that vanished or may not run ends with 127 or 126 and a word in stderr.log', async () => {
  const dir = tempDir();
  const gone = launch({ dir: tempDir(), program: join(dir, 'gone') });
  await gone.turn.exited;
  expect(readExit(gone.dir)).toMatchObject({ code: 127, signal: null });
  expect(stderr(gone.dir)).toContain('gone');
  writeFileSync(join(dir, 'plain'), 'echo no', { mode: 0o644 });
  const plain = launch({ dir: tempDir(), program: join(dir, 'plain') });
  await plain.turn.exited;
  expect(readExit(plain.dir)).toMatchObject({ code: 126, signal: null });
});

test('launch: a shell builtin is never taken for the program', async () => {
  const { turn, dir } = launch({ program: 'echo', args: ['--version'] });
  await turn.exited;
  expect(stdout(dir)).toContain('coreutils');
});

test('launch: what cannot start is a typed error, and leaves the lock free (E-054, O-66)', () => {
  const dir = tempDir();
  const refusals: [Partial<TurnLaunch>, string][] = [
    [{ program: 'no-such-program' }, 'program_not_found'],
    [{ program: '' }, 'program_not_found'],
    [{ cwd: join(dir, 'none') }, 'cwd_not_found'],
    [{ cwd: '/etc/passwd' }, 'cwd_not_found'],
    [{ stdin_path: join(dir, 'none') }, 'file_not_found'],
    [{ dir: join(dir, 'none'), cwd: '/' }, 'file_not_found'],
    [{ args: ['x'.repeat(200_000)] }, 'arguments_too_long'],
  ];
  for (const [part, code] of refusals) {
    expect(() => launch({ dir, ...part })).toThrow(expect.objectContaining({ name: 'AppError', code }));
    expect(liveHeld(dir)).toBe(false);
  }
});

test('launch: descriptors that run out are a typed error, and none is lost', async () => {
  const dir = tempDir();
  const script = `import { launchTurn } from ${JSON.stringify(resolve(import.meta.dir, '../../src/sys/launch.ts'))};
    import { openSync, readdirSync, closeSync } from 'node:fs';
    const turn = { dir: ${JSON.stringify(dir)}, program: '/bin/true', args: [], cwd: '/', env: {}, stdin_path: null, marker: 'm' };
    await launchTurn(turn).exited;
    const before = readdirSync('/proc/self/fd').length;
    const codes = new Set(), fds = [];
    try { for (;;) fds.push(openSync('/dev/null')); } catch (error) { codes.add(error.code); }
    for (let free = 0; free < 5; free++) {
      try { await launchTurn(turn).exited; } catch (error) { codes.add(error.code); }
      closeSync(fds.pop());
    }
    for (const fd of fds) closeSync(fd);
    console.log([...codes].join(), readdirSync('/proc/self/fd').length - before);`;
  const child = Bun.spawn(['prlimit', '--nofile=64:64', process.execPath, '-e', script], {
    stdout: 'pipe',
    stderr: 'inherit',
  });
  expect(await child.stdout.text()).toBe('EMFILE,too_many_open_files 0\n');
});

test('launch: nothing runs when the launcher cannot record who it is (O-54)', () => {
  const dir = tempDir();
  symlinkSync('/dev/full', turnFiles(dir).pid);
  const run = told(['/bin/sh', LAUNCHER, dir, 'boot', '--', '/bin/echo', 'ran']);
  expect([run.exitCode, run.stdout.toString()]).toEqual([125, '']);
  expect(run.stderr.toString()).not.toBe('');
  expect(readExit(dir)).toBeNull();
});

test('launch: who the launcher is stands whole in its file before the harness begins, whatever stood there', async () => {
  for (let i = 0; i < 10; i += 1) {
    const dir = tempDir();
    if (i % 2 === 1) writeFileSync(turnFiles(dir).pid, `{"pid":1,"start_time":"1","boot_id":"${'x'.repeat(200)}"}\n`);
    const { turn } = launch({ dir, program: '/bin/cat', args: [turnFiles(dir).pid] });
    await turn.exited;
    const { pid, start_time, boot_id } = turn.identity;
    const whole = `${JSON.stringify({ pid, start_time, boot_id })}\n`;
    expect([stdout(dir), readFileSync(turnFiles(dir).pid, 'utf8')]).toEqual([whole, whole]);
  }
});

test('launch: what a process of an earlier turn planted as the record neither stops us nor leads us elsewhere', async () => {
  const target = join(tempDir(), 'target');
  writeFileSync(target, '');
  const plants: ((path: string) => void)[] = [
    (path) => expect(Bun.spawnSync(['mkfifo', path]).exitCode).toBe(0),
    (path) => symlinkSync(target, path),
    (path) => mkdirSync(join(path, 'deep'), { recursive: true }),
  ];
  for (const plant of plants) {
    const dir = tempDir();
    plant(turnFiles(dir).pid);
    const { turn } = sh('exit 0', { dir });
    await turn.exited;
    expect([readPid(dir), readExit(dir)?.code]).toEqual([turn.identity, 0]);
  }
  expect(readFileSync(target, 'utf8')).toBe('');
});

test('launch: a harness that sends its output elsewhere keeps the sign of life without its launcher', async () => {
  const { turn, dir } = sh('echo $$; exec >/dev/null 2>&1; exec sleep 60');
  const harness = await until('the harness', () => identityOf(Number(stdout(dir).trim() || -1)));
  await until('its descriptors', () => readlinkSync(`/proc/${harness.pid}/fd/1`) === '/dev/null');
  signal(turn.identity, 'SIGKILL');
  await turn.exited;
  expect(liveHeld(dir)).toBe(true);
  signal(harness, 'SIGKILL');
  await until('the lock', () => !liveHeld(dir));
});

test('launch: a directory prepared for a turn that may come says nothing, and its turn starts in it', async () => {
  const session = tempDir();
  const dir = join(session, '2');
  await prepareTurn(dir);
  expect(readdirSync(dir).sort()).toEqual(['exit.json', 'pid.json', 'prompt.md', 'stderr.log', 'stdout.jsonl']);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  expect(readdirSync(dir).map((name) => statSync(join(dir, name)).mode & 0o777)).toEqual(Array(5).fill(0o600));
  expect([liveHeld(dir), readPid(dir), readExit(dir), stdout(dir)]).toEqual([false, null, null, '']);
  const { turn } = sh('echo out; exit 3', { dir });
  await turn.exited;
  expect([readPid(dir), readExit(dir)?.code]).toEqual([turn.identity, 3]);
  const overtaken = join(session, '3');
  const preparing = prepareTurn(overtaken);
  while (!existsSync(overtaken)) Bun.sleepSync(1);
  writeFileSync(turnFiles(overtaken).stdout, 'begun');
  await preparing;
  expect(stdout(overtaken)).toBe('begun');
  // Late, it takes nothing away; of a session that was removed it makes nothing.
  await prepareTurn(dir);
  expect([stdout(dir), readPid(dir)]).toEqual(['out\n', turn.identity]);
  await prepareTurn(join(session, 'removed', '2'));
  expect(existsSync(join(session, 'removed'))).toBe(false);
});

test('launch: a turn outlives the process that started it, and its exit code too', async () => {
  const dir = tempDir();
  const script = `import { launchTurn } from ${JSON.stringify(resolve(import.meta.dir, '../../src/sys/launch.ts'))};
    launchTurn({ dir: ${JSON.stringify(dir)}, program: '/bin/sh', cwd: '/', env: { PATH: ${JSON.stringify(PATH)} },
      args: ['-c', 'echo a; until [ -e "$0/go" ]; do sleep 0.02; done; echo b; exit 3', ${JSON.stringify(dir)}],
      stdin_path: null, marker: 'outlives' });
    console.log('started'); setInterval(() => {}, 1000);`;
  const starter = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' });
  await until('the harness', () => existsSync(turnFiles(dir).stdout) && stdout(dir) === 'a\n');
  starter.kill('SIGKILL');
  await starter.exited;
  const id = await until('the identity', () => readPid(dir));
  expect(liveness(id)).toBe('alive');
  expect(liveHeld(dir)).toBe(true);
  writeFileSync(join(dir, 'go'), '');
  await until('the end', () => isGone(id) && readExit(dir));
  expect(readExit(dir)).toMatchObject({ code: 3 });
  expect(stdout(dir)).toBe('a\nb\n');
  // Nobody was told of its end, so nobody has removed its group.
  removeGroup(groupIn(dir) ?? '/nowhere');
  await assertNoLeaks(dir);
});

test('launch: standard error goes to a file of that session and turn, appended to (E-050, E-051)', async () => {
  expect(turnFiles(homePaths.turn('/srv/drover', 'session-123', 2)).stderr).toBe(
    '/srv/drover/sessions/session-123/turns/2/stderr.log',
  );
  const { turn, dir } = sh('echo one >&2');
  await turn.exited;
  await sh('echo two >&2', { dir }).turn.exited;
  expect(stderr(dir)).toBe('one\ntwo\n');
});

test('turn files: absent, torn and foreign content is read as nothing', () => {
  const dir = tempDir();
  const { pid, exit } = turnFiles(dir);
  for (const text of [
    null,
    '',
    '{',
    '{"pid":',
    '[]',
    'null',
    '1',
    '{"pid":"1"}',
    '{"pid":0}',
    '{"code":"0"}',
    '{"code":null}',
  ]) {
    if (text !== null) for (const path of [pid, exit]) writeFileSync(path, text);
    expect([readPid(dir), readExit(dir)]).toEqual([null, null]);
  }
  writeFileSync(exit, '{"code":200}');
  expect(readExit(dir)).toMatchObject({ code: 200, signal: null, uptime_ms: null });
  rmSync(exit);
  expect(liveHeld(dir)).toBe(false);
});

test('launch: recording the end needs no process but the launcher, which nobody could kill in between', async () => {
  const dir = tempDir();
  const { turn } = sh('exit 9', { dir, env: { PATH: '/nowhere' }, program: '/bin/sh' });
  await turn.exited;
  expect(readExit(dir)).toMatchObject({ code: 9 });
  const trace = told(['sh', '-x', LAUNCHER, dir, 'boot', '--', '/bin/true']);
  const commands = trace.stderr
    .toString()
    .split('\n')
    .filter((line) => line.startsWith('+ '));
  expect(commands.map((line) => line.split(' ')[1]).slice(-3)).toEqual(['code=0', 'read', 'printf']);
});

test('launch: works under the other common shells too', async () => {
  for (const shell of [
    ['bash', '--posix'],
    ['busybox', 'sh'],
  ].filter(([name = '']) => Bun.which(name))) {
    const dir = tempDir();
    const run = told([...shell, LAUNCHER, dir, 'boot', '--', '/bin/sh', '-c', 'kill -TERM $$'], dir);
    expect([run.exitCode, readExit(dir)?.signal, readPid(dir) !== null]).toEqual([0, 'SIGTERM', true]);
    // Nobody there to tell it anything.
    const alone = Bun.spawnSync([...shell, LAUNCHER, dir, 'boot', '--', '/bin/echo', 'ran'], { cwd: dir });
    expect([alone.exitCode, alone.stdout.toString()]).toEqual([0, '']);
  }
});
