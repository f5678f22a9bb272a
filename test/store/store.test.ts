import { expect, test } from 'bun:test';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { openStore } from '../../src/store/open.ts';
import { getSession } from '../../src/store/session.ts';
import type { Tx } from '../../src/store/store.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const rename = (world: TestStore, id: string, task: string) =>
  world.store.write((tx) => tx.run('UPDATE sessions SET task = :task WHERE id = :id', { id, task }));

test('what a write throws undoes all of it, and the next one works', async () => {
  const world = await testStore();
  const { id } = await seedSession(world, { task: 'before' });
  const failing = world.store.write((tx) => {
    tx.run("UPDATE sessions SET task = 'half' WHERE id = :id", { id });
    throw new Error('second thoughts');
  });
  await expect(failing).rejects.toThrow('second thoughts');
  expect((await getSession(world.store, id))?.task).toBe('before');
  expect(await rename(world, id, 'after')).toBe(1);
  expect((await getSession(await world.second(), id))?.task).toBe('after');
});

test('a write stands in line at the gate, and gives up without a trace when it does not move', async () => {
  const world = await testStore();
  const { id } = await seedSession(world, { task: 'before' });
  const [gate, other] = [openWriteGate(homePaths.gate(world.home)), openWriteGate(homePaths.gate(world.home))];
  const options = { path: homePaths.database(world.home), durability: 'normal' as const, clock: systemClock, gate };
  const store = await openStore({ ...options, wait_ms: 50 });
  const leave = other.tryEnter();
  const blocked = store.write((tx) => tx.run("UPDATE sessions SET task = 'late' WHERE id = :id", { id }));
  await expect(blocked).rejects.toMatchObject({ code: 'store_busy', kind: 'parked' });
  expect((await getSession(world.store, id))?.task).toBe('before');
  leave?.();
  expect(await store.write((tx) => tx.run("UPDATE sessions SET task = 'mine' WHERE id = :id", { id }))).toBe(1);
  store.close();
  for (const each of [gate, other]) each.close();
});

test('a program that holds the database without the gate is waited for', async () => {
  const world = await testStore();
  await seedSession(world);
  const free = { tryEnter: () => () => undefined };
  const options = {
    path: homePaths.database(world.home),
    durability: 'normal' as const,
    clock: systemClock,
    gate: free,
  };
  const [store, rude] = [await openStore({ ...options, busy_timeout_ms: 10 }), await openStore(options)];
  // Begun inside the other's transaction: the first attempt meets the lock, a later one does not.
  const inner = await rude.write(() => ({ written: store.write((tx) => tx.run("UPDATE sessions SET task = 'x'")) }));
  expect(await inner.written).toBe(1);
  for (const each of [store, rude]) each.close();
});

test('the version changes with the commits of others, not with our own', async () => {
  const world = await testStore();
  const { id } = await seedSession(world);
  const other = await world.second();
  const before = world.store.dataVersion();
  await rename(world, id, 'mine');
  expect(world.store.dataVersion()).toBe(before);
  await other.write((tx) => tx.run("UPDATE sessions SET task = 'theirs' WHERE id = :id", { id }));
  expect(world.store.dataVersion()).not.toBe(before);
});

test('close lets go of the database, its files and its log (O-18)', async () => {
  const home = tempDir('closing');
  const path = homePaths.database(home);
  const options = { path, durability: 'full' as const, clock: systemClock, gate: { tryEnter: () => () => undefined } };
  const store = await openStore(options);
  await store.write((tx) => tx.run("UPDATE runs SET status = 'failed', completed_at = 1 WHERE id = 'none'"));
  await store.read((tx) => tx.all('SELECT id FROM sessions'));
  const held = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      const link = join('/proc/self/fd', fd);
      return existsSync(link) && readlinkSync(link).startsWith(path);
    }).length;
  expect(held()).toBeGreaterThan(0);
  store.close();
  expect(held()).toBe(0);
  expect(existsSync(`${path}-wal`)).toBe(false);
  expect(() => store.dataVersion()).toThrow();
});

test('a write ahead of the disk leaves the connection as durable as it was, also when it fails', async () => {
  const world = await testStore();
  const gate = { tryEnter: () => () => undefined };
  for (const [durability, usual] of [
    ['full', 2],
    ['normal', 1],
  ] as const) {
    const store = await openStore({ path: homePaths.database(world.home), durability, clock: systemClock, gate });
    const level = (tx: Tx) => tx.get<{ synchronous: number }>('PRAGMA synchronous')?.synchronous;
    expect([await store.read(level), await store.writeAhead(level), await store.read(level)]).toEqual([
      usual,
      1,
      usual,
    ]);
    const failing = store.writeAhead(() => {
      throw new Error('second thoughts');
    });
    await expect(failing).rejects.toThrow('second thoughts');
    expect(await store.read(level)).toBe(usual);
    store.close();
  }
});
