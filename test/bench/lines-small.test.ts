import { expect, test } from 'bun:test';
import { resolve } from 'node:path';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dir, '../..');
const seed = Number(process.env.CAMPAIGN_SEED ?? Math.floor(Math.random() * 1e9));

test('a few sessions in one repository, merged while everything is killed: no line lost, no reservation with two holders', async () => {
  const dir = tempDir('drover-lines');
  const fixed = ['--no-env-file', 'bench/lines/main.ts', '--small', '--json', '--seed', String(seed)];
  const child = Bun.spawn([process.execPath, ...fixed, '--live', '3', '--sessions', '4', '--seconds', '5'], {
    ...{ cwd: ROOT, env: { ...process.env, TMPDIR: dir } },
    ...{ stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  });
  const [text, said, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  await assertNoLeaks(dir);
  const report = JSON.parse(text) as Record<string, unknown>;
  const zero = { lost: 0, uncommitted_lost: 0, double_reservations: 0, bugs: 0 };
  expect({ ...report, code, said }).toMatchObject({ ...zero, ok: true, code: 0, seed, cases: {} });
  expect(report.lines_committed).toBeGreaterThan(0);
}, 120_000);
