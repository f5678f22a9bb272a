import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { homePaths } from '../../src/model/home.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { WatchdogKeeper } from '../../src/supervisor/keep-watchdog.ts';
import { identityOf, liveness } from '../../src/sys/identity.ts';
import { acquirePidLock, type PidLock } from '../../src/sys/lock.ts';
import { type TestStore, testStore } from '../support/store.ts';
import { beforeRemoval, tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

/** As far apart as two looks of the keeper. */
const LOOK_MS = 10_000;

/** A keeper whose time the test moves, and whose watchdogs are a program that notes that it was started. */
async function keeper(is_enabled = true) {
  const world = await testStore();
  const package_dir = tempDir('package');
  const started = join(package_dir, 'started');
  mkdirSync(join(package_dir, 'bin'));
  writeFileSync(join(package_dir, 'bin/drover'), `#!/bin/sh\necho >> ${started}\n`, { mode: 0o755 });
  let ahead = 0;
  // Whole numbers: exactly a minute has to be exactly that.
  const [now, monotonic] = [world.clock.now(), Math.floor(world.clock.monotonic())];
  const clock = { ...world.clock, now: () => now + ahead, monotonic: () => monotonic + ahead };
  const config = { ...DEFAULT_CONFIG, watchdog: { ...DEFAULT_CONFIG.watchdog, is_enabled } };
  const log: string[] = [];
  const one = new WatchdogKeeper({ ...world.deps, clock, package_dir, config_for: async () => config }, (line) =>
    log.push(line),
  );
  /** One look, so much later; what it does is done when this returns. */
  const look = async (ms = LOOK_MS) => {
    ahead += ms;
    one.tend();
    await Bun.sleep(0);
  };
  return { world, clock, look, log, started };
}

/** Somebody's process that the watchdog's lock names, though the lock is ours. */
function watchdog(world: TestStore): { lock: PidLock; pid: number; isAlive: () => boolean } {
  const path = homePaths.lock(world.home, 'watchdog');
  const held = acquirePidLock(path);
  if (!held.acquired) throw new Error('the lock is taken');
  const child = Bun.spawn(['sleep', '600']);
  beforeRemoval(() => {
    child.kill('SIGKILL');
    held.lock.release();
  });
  const id = identityOf(child.pid);
  writeFileSync(path, `${child.pid}\n${id?.start_time}\n${id?.boot_id}\n`);
  return { lock: held.lock, pid: child.pid, isAlive: () => liveness(id) === 'alive' };
}

test('a watchdog without a sign of life for a minute is ended, and another one is started (ARCHITECTURE §2)', async () => {
  const { world, look, log, started } = await keeper();
  const { pid, isAlive, lock } = watchdog(world);
  for (let looks = 0; looks < 7; looks += 1) await look();
  expect([log, isAlive()]).toEqual([[], true]);
  await look();
  expect(log).toEqual([`the watchdog ${pid} gave no sign of life for more than 60 s: ended`]);
  await until('it is dead', () => !isAlive());
  lock.release();
  await look(1_500);
  await until('another one was started', () => existsSync(started));
});

test('one that gives signs of life is left alone, however long', async () => {
  const { world, clock, look, log } = await keeper();
  const { lock, isAlive } = watchdog(world);
  for (let looks = 0; looks < 30; looks += 1) {
    lock.showLife(clock.now());
    await look();
  }
  expect([log, isAlive()]).toEqual([[], true]);
});

test('a supervisor that did not run itself judges no watchdog by that time (faults 13, 14)', async () => {
  const { world, look, log } = await keeper();
  const { isAlive } = watchdog(world);
  for (let looks = 0; looks < 6; looks += 1) await look();
  await look(600_000);
  for (let looks = 0; looks < 6; looks += 1) await look();
  expect([log, isAlive()]).toEqual([[], true]);
  await look();
  expect(log.length).toBe(1);
});

test('one that a person keeps (watchdog.is_enabled: false) is the person’s, and one that the lock does not prove is nobody’s', async () => {
  const off = await keeper(false);
  const kept = watchdog(off.world);
  for (let looks = 0; looks < 20; looks += 1) await off.look();
  expect([off.log, kept.isAlive()]).toEqual([[], true]);
  const { world, look, log } = await keeper();
  const unproven = watchdog(world);
  writeFileSync(homePaths.lock(world.home, 'watchdog'), `${unproven.pid}\n`);
  for (let looks = 0; looks < 8; looks += 1) await look();
  expect([log, unproven.isAlive()]).toEqual([[expect.stringContaining('could not be ended')], true]);
});

test('when every next one hangs as well, a person is told once and it is left alone (restart intensity)', async () => {
  const { world, look, log } = await keeper();
  watchdog(world);
  writeFileSync(homePaths.lock(world.home, 'watchdog'), '4194303\n');
  for (let looks = 0; looks < 30; looks += 1) await look();
  expect(log.length).toBe(5);
  const told = async () => (await listMail(world.store, { to_id: null })).map(({ subject }) => subject);
  await until('a person is told', async () => (await told()).length > 0);
  expect(await told()).toEqual(['The watchdog hangs again and again']);
});
