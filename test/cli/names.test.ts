import { expect, test } from 'bun:test';
import { instantText } from '../../src/cli/output.ts';
import { soundWorld, tamper } from '../support/doctor.ts';
import { writeConfig } from '../support/drover.ts';
import { seedSession } from '../support/store.ts';
import { beforeRemoval } from '../support/temp.ts';

const ODD = 'a\u001b[1mb';
const ESCAPE = String.fromCharCode(27);

test('names of harnesses and pools reach the terminal without what it would obey, and quoted in commands', async () => {
  const { world, bench } = await soundWorld();
  // Of this home the bench knows nothing.
  beforeRemoval(async () => {
    for (const args of [['stop', '--all'], ['down']]) await bench.run(args);
  });
  const { id } = await seedSession(world, { name: 'odd', harness: ODD, pool: ODD, repo_root: bench.repo });
  tamper(
    world,
    `INSERT INTO pools (name, state, reason, blocked_at, updated_at) VALUES ('${ODD}', 'blocked', 'operator', 1, 1);
     UPDATE sessions SET state = 'parked', parked_reason = 'operator', parked_pool = '${ODD}', profile_name = '${ODD}' WHERE id = '${id}'`,
  );
  writeConfig(bench.home, { harness_runners: { [ODD]: { program: 'true' } }, default_harness: ODD });
  const said = [
    ...(await Promise.all(
      [['status'], ['pools'], ['show', 'odd'], ['harness', 'list']].map((args) => bench.run(args)),
    )),
    await bench.run(['sling', '--name', 'new', 'graze']),
    await bench.run(['pools', 'off', ODD]),
    await bench.run(['pools', 'block', `${ODD}x`]),
  ];
  const raw = said.filter(({ stdout, stderr }) => `${stdout}${stderr}`.includes(ESCAPE));
  expect(raw.map((ran) => JSON.stringify(ran))).toEqual([]);
  const command = "drover pools release $'a\\x1b[1mb'";
  expect(said.slice(0, 3).map(({ stdout }) => stdout.includes(command))).toEqual([true, true, true]);
  expect(said[4]).toMatchObject({ code: 0, stdout: expect.stringContaining('ab, queued') });
  expect(said[5]?.stdout).toContain('ab: blocked → off');
}, 60_000);

test('an instant that no date holds is shown as the number it is', async () => {
  const { world, bench } = await soundWorld();
  tamper(
    world,
    `INSERT INTO pools (name, state, reason, blocked_at, opens_at, updated_at)
     VALUES ('far', 'blocked', 'operator', 1, 8640000000000001, 1)`,
  );
  for (const args of [['pools'], ['status']])
    expect(await bench.json(args)).toMatchObject({
      pools: expect.arrayContaining([expect.objectContaining({ name: 'far', opens_at: 8_640_000_000_000_001 })]),
    });
  expect((await bench.run(['pools'])).stdout).toContain('far');
  expect([0, 8.64e15, 8.64e15 + 1, Number.NaN].map(instantText)).toEqual([
    '1970-01-01T00:00:00.000Z',
    '+275760-09-13T00:00:00.000Z',
    '8640000000000001',
    'NaN',
  ]);
}, 60_000);
