import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { droverBench } from '../support/drover.ts';
import { refused, rehearse, untilState } from '../support/peek.ts';

test('a block of more than a year is a slip of the pen', async () => {
  const bench = droverBench();
  for (const args of [
    ['--for', '100000000d'],
    ['--for', '367d'],
    ['--for', `${'9'.repeat(400)}d`],
    ['--until', '9999-01-01'],
    ['--until', '+275760-09-13T00:00:00.000Z'],
  ])
    expect((await refused(bench, ['pools', 'block', 'rehearsal', ...args], [2, 'usage'])).message).toContain('a year');
  expect(await bench.json(['pools', 'block', 'rehearsal', '--for', '365d'])).toMatchObject({ changed: true });
}, 60_000);

test('with settings that cannot be used, a known pool can be changed and the fleet be looked at', async () => {
  const bench = droverBench({ config: { profiles: { own: { pool: 'own' } } } });
  const file = join(bench.home, '.config/drover/config.yaml');
  await rehearse(bench, 'ewe', { turns: [[{ say: 'done' }]] }, ['--profile', 'own']);
  await untilState(bench, 'ewe', 'completed');
  writeFileSync(file, 'max_depth: deep\n');
  for (const word of ['block', 'release', 'off', 'on'])
    for (const pool of ['own', 'claude'])
      expect(await bench.json(['pools', word, pool])).toMatchObject({ changed: true });
  // Only the settings could know this one, and they say nothing.
  await refused(bench, ['pools', 'block', 'unheard'], [2, 'config_invalid']);
  const once = await bench.run(['watch', '--once']);
  expect([once.code, once.stdout]).toEqual([0, expect.stringContaining('all are well')]);
  expect(once.stderr).toContain('max_depth');
}, 60_000);
