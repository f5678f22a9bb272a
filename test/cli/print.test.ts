import { expect, test } from 'bun:test';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';

async function piped({ repo, env }: Bench, into: string, args: string[]) {
  const child = Bun.spawn(['bash', '-c', `set -o pipefail; "$0" "$@" ${into}`, DROVER, ...args], {
    ...{ cwd: repo, env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { stdout, stderr, code: await child.exited };
}

const VERBS = [
  ['status'],
  ['ps', '--json'],
  ['budget', 'list'],
  ['completions', 'bash'],
  ['sling', '--help'],
  ['plan', 'schema'],
];

test.each(VERBS)(
  'an answer of %s that a full disk does not take is a failure, and none that nobody reads',
  async (...args) => {
    const bench = droverBench();
    const full = await piped(bench, '>/dev/full', args);
    expect([full.code, full.stdout]).toEqual([1, '']);
    expect(full.stderr).toContain('ENOSPC');
    expect(full.stderr).toContain('output_failed');
    expect(await piped(bench, '| true', args)).toEqual({ code: 0, stdout: '', stderr: '' });
  },
  30_000,
);

test('a long answer comes whole to a reader that is slow', async () => {
  const bench = droverBench();
  const whole = await piped(bench, '', ['plan', 'schema']);
  const slow = await piped(bench, '| { sleep 0.3; cat; }', ['plan', 'schema']);
  expect(slow.stdout.length).toBeGreaterThan(4_096);
  expect(slow).toEqual(whole);
}, 30_000);

test('the exit code of a refusal stays its own', async () => {
  const { code, stderr } = await piped(droverBench(), '>/dev/full', ['show', 'nobody']);
  expect([code, stderr.includes('output_failed')]).toEqual([4, false]);
}, 30_000);
