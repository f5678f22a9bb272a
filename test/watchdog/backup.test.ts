import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { homePaths } from '../../src/model/home.ts';
import { backupName, listBackups } from '../../src/session/backups.ts';
import { Backups, backupIfDue } from '../../src/watchdog/backup.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const DAY = 24 * 3_600_000;

function names({ home }: TestStore): string[] {
  return readdirSync(homePaths.backups(home)).sort();
}

test('a backup is a whole database of its own, closed to others, and holds what was committed before', async () => {
  const world = await testStore();
  const { id } = await seedSession(world, { name: 'ewe' });
  const now = world.clock.now();
  const result = backupIfDue(world.home, now);
  expect(result).toEqual({ made: `${homePaths.backups(world.home)}/${backupName(now)}`, removed: [] });
  expect(names(world)).toEqual([backupName(now)]);
  const path = result.made ?? '';
  expect([homePaths.backups(world.home), path].map((each) => statSync(each).mode & 0o777)).toEqual([0o700, 0o600]);
  const copy = new Database(path, { readonly: true });
  expect(copy.query('SELECT id, name FROM sessions').all()).toEqual([{ id, name: 'ewe' }]);
  copy.close();
  expect(listBackups(world.home)).toEqual([{ path, made_at: Math.floor(now / 1000) * 1000 }]);
});

test('one a day, only when something was written, and the newest three stay', async () => {
  const world = await testStore();
  const start = world.clock.now();
  expect(backupIfDue(world.home, start).made).not.toBeNull();
  expect(backupIfDue(world.home, start + DAY - 1_000)).toEqual({ made: null, why: 'fresh' });
  expect(backupIfDue(world.home, start - DAY + 2_000)).toEqual({ made: null, why: 'fresh' });
  const files = ['', '-wal'].map((suffix) => `${homePaths.database(world.home)}${suffix}`);
  const old = new Date(start - 60_000);
  for (const file of files) utimesSync(file, old, old);
  expect(backupIfDue(world.home, start + DAY)).toEqual({ made: null, why: 'unchanged' });
  const made = [backupName(start)];
  for (let day = 1; day <= 4; day += 1) {
    await seedSession(world);
    for (const file of files) utimesSync(file, new Date(start + day * DAY), new Date(start + day * DAY));
    expect(backupIfDue(world.home, start + day * DAY + 5_000).made).not.toBeNull();
    made.push(backupName(start + day * DAY + 5_000));
  }
  expect(names(world)).toEqual(made.slice(-3));
});

test('a writer does not wait for it, and what was cut off is swept away', async () => {
  const world = await testStore();
  await seedSession(world);
  mkdirSync(homePaths.backups(world.home));
  writeFileSync(`${homePaths.backups(world.home)}/drover-20200101-000000.db.tmp`, 'half');
  const writer = new Database(homePaths.database(world.home));
  writer.run('BEGIN IMMEDIATE');
  try {
    expect(backupIfDue(world.home, world.clock.now()).made).not.toBeNull();
    expect(names(world)).toHaveLength(1);
  } finally {
    writer.run('ROLLBACK');
    writer.close();
  }
});

test('a damaged database is not copied over the good ones', async () => {
  const home = tempDir('home');
  mkdirSync(homePaths.backups(home));
  const good = `${homePaths.backups(home)}/${backupName(DAY)}`;
  writeFileSync(good, 'good');
  expect(backupIfDue(home, 9 * DAY)).toEqual({ made: null, why: 'empty' });
  writeFileSync(homePaths.database(home), 'this is no database at all'.repeat(100));
  expect(() => backupIfDue(home, 9 * DAY)).toThrow('damaged');
  expect(readdirSync(homePaths.backups(home))).toEqual([backupName(DAY)]);
});

test('the watchdog asks once an hour, tells what it did, and goes on after a failure', async () => {
  const world = await testStore();
  await seedSession(world);
  const lines: string[] = [];
  let monotonic = 0;
  let ahead = 0;
  const clock = { ...world.clock, monotonic: () => monotonic, now: () => world.clock.now() + ahead };
  const backups = new Backups({ clock, home: world.home, log: (line) => lines.push(line) });
  backups.tend();
  expect(lines).toEqual([expect.stringMatching(/^backup: .*\.db$/)]);
  world.store.close();
  for (const suffix of ['', '-wal']) writeFileSync(`${homePaths.database(world.home)}${suffix}`, 'ruined');
  ahead = 2 * DAY;
  utimesSync(homePaths.database(world.home), new Date(clock.now()), new Date(clock.now()));
  monotonic = 3_599_999;
  backups.tend();
  expect(lines).toHaveLength(1);
  monotonic = 3_600_000;
  backups.tend();
  expect(lines.slice(1)).toEqual([expect.stringContaining('store_corrupt')]);
  expect(names(world)).toHaveLength(1);
});
