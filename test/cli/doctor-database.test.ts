import { expect, test } from 'bun:test';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { listBackups } from '../../src/session/backups.ts';
import { backupIfDue } from '../../src/watchdog/backup.ts';
import { doctor, of, problems, soundWorld, tamper } from '../support/doctor.ts';
import { DROVER, droverBench } from '../support/drover.ts';
import { seedSession, takeTurn } from '../support/store.ts';
import { until } from '../support/until.ts';

test('a database of a newer drover is told, and its rows are let be', async () => {
  const { world, bench } = await soundWorld();
  tamper(world, 'PRAGMA user_version = 99');
  const report = await doctor(bench, 1);
  expect(problems(report)).toEqual(['database']);
  expect(of(report, 'database')[0]?.what).toContain('schema 99 is newer');
  expect(of(report, 'invariants')).toEqual([]);
  tamper(world, 'PRAGMA user_version = 1');
  expect(of(await doctor(bench, 0), 'database')).toMatchObject([
    { level: 'warning', what: expect.stringContaining('schema 1') },
  ]);
  tamper(world, 'PRAGMA user_version = 2');
});

test('a clock that went back is told', async () => {
  const { world, bench } = await soundWorld();
  world.clock.advance(3_600_000);
  await seedSession(world, { name: 'tomorrow' });
  expect(of(await doctor(bench, 1), 'clock')).toMatchObject([
    { level: 'problem', what: expect.stringMatching(/3\d\d\d s ahead/) },
  ]);
});

test('a write-ahead log that has grown long is moved into the database by --fix', async () => {
  const { world, bench } = await soundWorld();
  const wal = `${homePaths.database(world.home)}-wal`;
  tamper(
    world,
    'PRAGMA wal_autocheckpoint = 0; CREATE TABLE ballast AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 70) SELECT randomblob(1048576) AS b FROM n',
  );
  expect(of(await doctor(bench, 0), 'write-ahead log')).toMatchObject([
    { level: 'warning', what: expect.stringMatching(/^\d\d MiB/) },
  ]);
  expect(of(await doctor(bench, 0, '--fix'), 'write-ahead log')).toMatchObject([
    { fixed: true, fix: 'moved it into the database' },
  ]);
  expect(statSync(wal).size).toBe(0);
  expect(of(await doctor(bench, 0), 'write-ahead log')).toEqual([]);
}, 60_000);

/** Ruins what every page after the first says. */
function ruinPages(path: string): void {
  const fd = openSync(path, 'r+');
  const { size } = fstatSync(fd);
  for (let at = 4_096; at < size; at += 4_096) writeSync(fd, Buffer.alloc(512, 0xa5), 0, 512, at);
  closeSync(fd);
}

/** Truncated, overwritten from the start, ruined inside. */
const DAMAGES: [string, (path: string) => void][] = [
  ['ruined pages', ruinPages],
  ['another kind of file', (path) => writeFileSync(path, 'not a database, '.repeat(1_000))],
  ['half a file', (path) => truncateSync(path, Math.floor(statSync(path).size / 2 / 4_096) * 4_096)],
];

test.each(DAMAGES)(
  'a damaged database (%s) gives a whole report; its commands bring the sessions back',
  async (_name, ruin) => {
    const bench = droverBench();
    const home = bench.drover_home;
    await bench.json(['sling', '--harness', 'rehearsal', '--name', 'ewe', 'graze']);
    await bench.run(['wait', 'ewe']);
    // A day later; when nothing was written since the watchdog's own copy, that one has everything.
    backupIfDue(home, Date.now() + 25 * 3_600_000);
    await bench.run(['down']);
    for (const suffix of ['-wal', '-shm']) rmSync(`${homePaths.database(home)}${suffix}`, { force: true });
    ruin(homePaths.database(home));
    const report = await doctor(bench, 1);
    const found = of(report, 'database')[0];
    expect(found).toMatchObject({ level: 'problem', what: expect.stringContaining('it is damaged') });
    for (const check of ['bun', 'home', 'disk', 'supervisor', 'processes', 'backup'])
      expect(of(report, check).length).toBeGreaterThan(0);
    const commands = found?.hint?.split('\n').slice(1) ?? [];
    expect(commands.length).toBeGreaterThan(2);
    for (const command of commands) {
      const ran = Bun.spawnSync(['sh', '-c', `drover() { ${DROVER} "$@"; }; ${command}`], {
        cwd: bench.repo,
        env: bench.env,
      });
      expect({ command, code: ran.exitCode, err: ran.stderr.toString() }).toMatchObject({ code: 0, err: '' });
    }
    expect(await bench.session('ewe')).toMatchObject({ name: 'ewe', state: 'completed' });
    expect(
      readFileSync(join(homePaths.turn(home, (await bench.session('ewe')).id, 1), 'stdout.jsonl'), 'utf8'),
    ).not.toBe('');
  },
  60_000,
);

test('without a backup the way out is an empty database; nothing is deleted', async () => {
  const { world, bench } = await soundWorld();
  world.store.close();
  writeFileSync(homePaths.database(world.home), 'not a database, '.repeat(1_000));
  const found = of(await doctor(bench, 1), 'database')[0];
  expect(found?.hint).toContain('There is no backup');
  expect(found?.hint).toContain('/sessions');
  expect(found?.hint).not.toContain('rm ');
});

test('no backup, or an old one, is a warning; rows that were deleted are a problem', async () => {
  const { world, bench } = await soundWorld();
  expect(of(await doctor(bench, 0), 'backup')).toMatchObject([{ level: 'warning', what: 'there is none yet' }]);
  mkdirSync(homePaths.backups(world.home), { mode: 0o700 });
  writeFileSync(join(homePaths.backups(world.home), 'drover-20200101-000000.db'), '', { mode: 0o600 });
  expect(of(await doctor(bench, 0), 'backup')).toMatchObject([
    { level: 'warning', what: expect.stringContaining('1 kept') },
  ]);
  await takeTurn(world, (await seedSession(world, { name: 'lamb' })).id);
  tamper(world, "DELETE FROM sessions WHERE name = 'lamb'");
  expect(of(await doctor(bench, 1), 'rows')).toMatchObject([
    { level: 'problem', what: expect.stringContaining('a row of turns') },
  ]);
});

test('the watchdog beside the supervisor makes the first backup by itself, and the doctor tells of it', async () => {
  const bench = droverBench();
  await bench.json(['sling', '--harness', 'rehearsal', '--name', 'ewe', 'graze']);
  await until('there is a backup', () => listBackups(bench.drover_home).length > 0, 30_000);
  expect(of(await doctor(bench, 0), 'backup')).toMatchObject([
    { level: 'ok', what: expect.stringMatching(/^1 kept, the newest is 0 h old/) },
  ]);
}, 60_000);
