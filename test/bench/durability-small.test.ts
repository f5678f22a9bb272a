import { expect, test } from 'bun:test';
import { resolve } from 'node:path';
import { KILL_FIGURES } from '../../bench/durability/verdict.ts';
import { watchCampaign } from '../../bench/durability/watch.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dir, '../..');
const seed = Number(process.env.CAMPAIGN_SEED ?? Math.floor(Math.random() * 1e9));

test('a dozen kills of whatever drover is made of: nothing lost, nothing doubled, nobody forgotten (C-10, ARCHITECTURE §1)', async () => {
  const dir = tempDir('drover-durability');
  const only = ['--only', 'kill', '--sessions', '6', '--kills', '12'];
  const child = Bun.spawn(
    [
      process.execPath,
      '--no-env-file',
      'bench/durability/main.ts',
      '--small',
      '--json',
      '--seed',
      String(seed),
      ...only,
    ],
    { cwd: ROOT, env: { ...process.env, TMPDIR: dir }, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  );
  const [text, said, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const report = JSON.parse(text) as Record<string, unknown>;
  const zero = Object.fromEntries(KILL_FIGURES.map((figure) => [figure, 0]));
  expect({ ...report, said }).toMatchObject({ ...zero, ok: true, seed, failures: [], cases: {} });
  expect(code).toBe(0);
  await assertNoLeaks(dir);
}, 120_000);

test('healthy sessions of every shape are left alone, sick ones of every kind are ended (O-53, O-67, E-079)', async () => {
  const options = {
    package_dir: ROOT,
    seed,
    isSmall: true,
    healthy: 11,
    sick: 7,
    lids: 0,
    keep: false,
    say: () => undefined,
  };
  const { zero, numbers } = await watchCampaign(options);
  expect({ seed, zero }).toEqual({ seed, zero: { false_kills: [], missed_hangs: [] } });
  for (const figure of ['detect_ms', 'settle_ms']) {
    expect(numbers[`${figure}_p50`]).toBeGreaterThanOrEqual(0);
    expect(numbers[`${figure}_p99`]).toBeLessThan(10_000);
  }
}, 120_000);
