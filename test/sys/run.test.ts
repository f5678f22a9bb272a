import { expect, test } from 'bun:test';
import { join, resolve } from 'node:path';
import { type RunOptions, runProgram } from '../../src/sys/run.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const PATH = '/usr/bin:/bin';
const BIN = resolve(import.meta.dir, '../fixtures/bin');

const run = (program: string, args: string[], part: Partial<RunOptions> = {}) =>
  runProgram(program, args, { cwd: '/', env: { PATH }, timeout_ms: 20_000, max_output_bytes: 10_000, ...part });

test('run: code, both outputs, directory and environment', async () => {
  const dir = tempDir();
  const env = { PATH, A: '1' };
  expect(await run('sh', ['-c', 'pwd; echo $A; echo err >&2; exit 3'], { cwd: dir, env })).toEqual({
    code: 3,
    signal: null,
    stdout: `${dir}\n1\n`,
    stderr: 'err\n',
    timed_out: false,
    truncated: false,
    left_over: 0,
  });
  expect((await run('env', [], { env })).stdout).toBe(`PATH=${PATH}\nA=1\n`);
});

test('run: stdin is given whole, or empty', async () => {
  const text = 'é'.repeat(100_000);
  expect((await run('wc', ['-c'], { stdin: text })).stdout.trim()).toBe('200000');
  expect((await run('cat', [])).stdout).toBe('');
  expect(await run('true', [], { stdin: text })).toMatchObject({ code: 0 });
});

test('run: an end by signal has no code', async () => {
  expect(await run('sh', ['-c', 'kill -TERM $$'])).toMatchObject({ code: null, signal: 'SIGTERM', timed_out: false });
});

test('run: output beyond the bound is dropped, not awaited, and the program still ends', async () => {
  const result = await run('sh', ['-c', 'head -c 5000000 /dev/zero; head -c 30 /dev/zero >&2; exit 4'], {
    max_output_bytes: 1000,
  });
  expect(result).toMatchObject({ code: 4, truncated: true });
  expect([result.stdout.length, result.stderr.length]).toEqual([1000, 30]);
  expect(await run('printf', ['%s', 'x'.repeat(1000)], { max_output_bytes: 1000 })).toMatchObject({ truncated: false });
});

test('run: the last words before the end are not lost', async () => {
  for (let i = 0; i < 20; i++) {
    const result = await run('head', ['-c', '60000', '/dev/zero'], { max_output_bytes: 60_000 });
    expect([result.stdout.length, result.truncated]).toEqual([60_000, false]);
  }
});

test('run: the timeout ends the whole tree, and what was said before is kept', async () => {
  const dir = tempDir();
  for (const program of ['background-sleep', 'ignores-term', 'scrubs-environment']) {
    const result = await run(resolve(BIN, program), [], { cwd: dir, timeout_ms: 1_000 });
    expect(result).toMatchObject({ code: null, timed_out: true, stdout: 'ready\n' });
    await assertNoLeaks(dir);
  }
}, 60_000);

test('run: a daemon that holds the output open does not hold us', async () => {
  const dir = tempDir();
  const result = await run('sh', ['-c', 'sleep 60 & echo $!'], { cwd: dir });
  expect(result).toMatchObject({ code: 0, timed_out: false });
  // What a helper leaves running on purpose (as git does) is not ours to end.
  const [left] = leaksOf(dir);
  expect(left?.pid).toBe(Number(result.stdout));
  if (left) process.kill(left.pid, 'SIGKILL');
  await until('its end', () => leaksOf(dir).length === 0);
});

test('run: what cannot start is a typed error', async () => {
  const dir = tempDir();
  const refusals: [string, string[], Partial<RunOptions>, string][] = [
    ['no-such-program', [], {}, 'program_not_found'],
    [join(dir, 'none'), [], {}, 'program_not_found'],
    ['true', [], { cwd: join(dir, 'none') }, 'cwd_not_found'],
    ['true', ['x'.repeat(200_000)], {}, 'arguments_too_long'],
    ['/etc/passwd', [], {}, 'permission_denied'],
  ];
  for (const [program, args, part, code] of refusals) {
    await expect(run(program, args, part)).rejects.toMatchObject({ name: 'AppError', code });
  }
});

test('run: forty at once', async () => {
  const all = await Promise.all(Array.from({ length: 40 }, (_, i) => run('sh', ['-c', `echo ${i}; exit ${i}`])));
  expect(all.map(({ code, stdout }) => [code, stdout])).toEqual(all.map((_, i) => [i, `${i}\n`]));
});
