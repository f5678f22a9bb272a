import { expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { WatchdogKeeper } from '../../src/supervisor/keep-watchdog.ts';
import { acquirePidLock } from '../../src/sys/lock.ts';
import { testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

/** A keeper whose watchdog ends at once. */
async function keeper() {
  const world = await testStore();
  const package_dir = tempDir('package');
  mkdirSync(join(package_dir, 'bin'));
  writeFileSync(join(package_dir, 'bin/drover'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  let [now, looks] = [0, 0];
  world.clock.monotonic = () => now;
  const log: string[] = [];
  const config_for: typeof world.deps.config_for = async (repo_root) => {
    const config = await world.deps.config_for(repo_root);
    looks += 1;
    return config;
  };
  const one = new WatchdogKeeper({ ...world.deps, package_dir, config_for }, (line) => log.push(line));
  const told = async () => (await listMail(world.store, { to_id: null })).map(({ subject }) => subject);
  const advance = (ms: number) => {
    now += ms;
    world.clock.advance(ms);
    one.tend();
  };
  /** So long without a watchdog; a look goes on in the background. */
  const down = async (ms: number, every_ms = 10_000) => {
    for (const end = now + ms; now < end; ) {
      const before = looks;
      advance(every_ms);
      await until('it has looked', () => looks > before);
      await Bun.sleep(0);
    }
  };
  /** So long with one that is well. */
  const up = async (ms: number) => {
    const held = acquirePidLock(homePaths.lock(world.home, 'watchdog'));
    if (!held.acquired) throw new Error('the lock is taken');
    for (const end = now + ms; now < end; ) {
      held.lock.showLife(world.clock.now() + 10_000);
      advance(10_000);
      await Bun.sleep(0);
    }
    held.lock.release();
  };
  return { down, up, log, told };
}

test('a watchdog that never stays up is started some twenty times in eight hours, and a person is told once (C-07)', async () => {
  const { down, up, log, told } = await keeper();
  await down(60_000);
  expect(log.length).toBe(5);
  await until('a person is told', async () => (await told()).length > 0);
  await down(8 * 3_600_000, 60_000);
  expect([log.length > 9, log.length < 25]).toEqual([true, true]);
  expect(await told()).toEqual(['The watchdog does not stay up']);
  // One that stays up for a minute ends the episode; half a minute is not enough.
  await up(40_000);
  const before = log.length;
  await down(60_000);
  expect(log.length - before).toBeLessThanOrEqual(1);
  await up(80_000);
  const then = log.length;
  await down(60_000);
  expect(log.length - then).toBe(5);
  await until('a person is told', async () => (await told()).length > 1);
}, 60_000);
