import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { inspectDatabase } from '../../src/store/inspect.ts';
import { SCHEMA } from '../../src/store/version.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

/** Everything in the database file itself, no log beside it, and nobody has it open. Answers with the page a table begins at. */
function settled(world: TestStore, table: string): { path: string; at: number } {
  world.store.close();
  const path = homePaths.database(world.home);
  const db = new Database(path);
  db.run('PRAGMA wal_checkpoint(TRUNCATE)');
  const root = (
    db.query('SELECT rootpage FROM sqlite_schema WHERE name = :table').get({ ':table': table }) as { rootpage: number }
  ).rootpage;
  db.close();
  return { path, at: (root - 1) * 4_096 };
}

test('no file, an empty file and a sound database', async () => {
  const dir = tempDir();
  expect(await inspectDatabase(join(dir, 'none.db'))).toMatchObject({ state: 'absent', newest_at: null });
  writeFileSync(join(dir, 'empty.db'), '');
  expect(await inspectDatabase(join(dir, 'empty.db'))).toMatchObject({ state: 'empty' });
  const world = await testStore();
  const row = await seedSession(world);
  const facts = await inspectDatabase(homePaths.database(world.home));
  expect(facts).toEqual({
    state: 'ready',
    schema_version: SCHEMA,
    known_version: SCHEMA,
    damage: [],
    strays: [],
    newest_at: row.created_at,
  });
});

test('a page that no ordinary question reads is found to be damaged', async () => {
  const world = await testStore();
  await seedSession(world);
  const { path, at } = settled(world, 'state_log');
  const fd = openSync(path, 'r+');
  // The header's count of lost bytes: nothing but a check of the whole file looks at it.
  writeSync(fd, Buffer.from([0x21]), 0, 1, at + 7);
  closeSync(fd);
  const facts = await inspectDatabase(path);
  expect(facts).toMatchObject({ state: 'damaged', schema_version: SCHEMA });
  expect(facts.damage.join()).toContain('Fragmentation');
});

test('a row that speaks of one that is gone is told', async () => {
  const world = await testStore();
  const row = await seedSession(world);
  const { path } = settled(world, 'turns');
  const db = new Database(path);
  db.run(`INSERT INTO turns (session_id, turn, marker, dir, started_at) VALUES ('${row.id}', 1, 'm', '/d', 1)`);
  db.run('DELETE FROM sessions');
  db.close();
  expect(await inspectDatabase(path)).toMatchObject({
    state: 'ready',
    strays: ['a row of turns speaks of a row of sessions that does not exist'],
  });
});
