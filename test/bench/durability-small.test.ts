import { expect, test } from 'bun:test';
import { resolve } from 'node:path';
import { KILL_FIGURES } from '../../bench/durability/verdict.ts';
import { watchCampaign } from '../../bench/durability/watch.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dir, '../..');
const seed = Number(process.env.CAMPAIGN_SEED ?? Math.floor(Math.random() * 1e9));

/** Runs one campaign by the command that people use; what it started has to be gone. */
async function campaign(only: readonly string[]): Promise<Record<string, unknown>> {
  const dir = tempDir('drover-durability');
  const fixed = ['--no-env-file', 'bench/durability/main.ts', '--small', '--json', '--seed', String(seed)];
  const child = Bun.spawn([process.execPath, ...fixed, ...only], {
    cwd: ROOT,
    env: { ...process.env, TMPDIR: dir },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [text, said, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  await assertNoLeaks(dir);
  return { ...(JSON.parse(text) as Record<string, unknown>), said, code };
}

test('a dozen kills of whatever drover is made of: nothing lost, nothing doubled, nobody forgotten (C-10, ARCHITECTURE §1)', async () => {
  const zero = Object.fromEntries(KILL_FIGURES.map((figure) => [figure, 0]));
  const report = await campaign(['--only', 'kill', '--sessions', '6', '--kills', '12']);
  expect(report).toMatchObject({ ...zero, ok: true, code: 0, seed, failures: [], cases: {} });
}, 240_000);

test('a usage limit of one credential: one call too many at most, everybody comes back, no turn is doubled (O-52)', async () => {
  const report = await campaign(['--only', 'limit', '--sessions', '6']);
  const zero = { limit_doubled_turns: 0, limit_unfinished: 0, limit_attempts_spent: 0 };
  expect(report).toMatchObject({ ...zero, ok: true, code: 0, seed, failures: [] });
  expect(report.limit_extra_calls).toBeLessThanOrEqual(1);
}, 240_000);

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
  for (const figure of ['detect_ms_p50', 'settle_ms_p50']) expect(numbers[figure]).toBeGreaterThanOrEqual(0);
}, 240_000);
