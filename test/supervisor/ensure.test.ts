import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { ensureSupervisor } from '../../src/supervisor/ensure.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { acquirePidLock } from '../../src/sys/lock.ts';
import { listen } from '../../src/sys/socket.ts';
import { beforeRemoval, tempDir } from '../support/temp.ts';

/** A home whose lock somebody has held for `held_ms`, and starters that lose it at once. Time passes while they nap. */
async function rival(
  held_ms: number,
  onNap: (home: string, passed_ms: number) => Promise<void> = async () => undefined,
) {
  const [home, package_dir] = [join(tempDir('ensure'), 'home'), tempDir('package')];
  mkdirSync(homePaths.run(home), { recursive: true, mode: 0o700 });
  mkdirSync(join(package_dir, 'bin'));
  const ended = join(package_dir, 'ended');
  writeFileSync(join(package_dir, 'bin/drover'), `#!/bin/sh\n: >${ended}\nexit 3\n`, { mode: 0o755 });
  const path = homePaths.lock(home, 'supervisor');
  const held = acquirePidLock(path);
  if (!held.acquired) throw new Error('the lock is taken');
  beforeRemoval(() => held.lock.release());
  const [start, since] = [systemClock.now(), new Date(systemClock.now() - held_ms)];
  utimesSync(path, since, since);
  let passed = 0;
  const sleep = async () => {
    await Bun.sleep(20);
    if (!existsSync(ended)) return;
    passed += 200;
    await onNap(home, passed);
  };
  const clock = { now: () => start + passed, monotonic: () => passed, sleep };
  const ensured = ensureSupervisor({ clock, home, env: { PATH: process.env.PATH }, package_dir }).then(
    () => null,
    (error) => error,
  );
  return { error: await ensured, passed };
}

test('one that has just taken its lock is on its way, however slow the machine: whoever needs it waits', async () => {
  let isUp = false;
  const { error, passed } = await rival(0, async (home, passed_ms) => {
    if (passed_ms < 9_000 || isUp) return;
    isUp = true;
    const bell = await listen(homePaths.socket(home), () => 'ok', console.error);
    beforeRemoval(() => bell.close());
  });
  expect(error).toBeNull();
  expect(passed).toBeGreaterThanOrEqual(9_000);
});

test('one that has held its lock for long and does not answer is not waited for as long', async () => {
  const { error, passed } = await rival(60_000);
  expect(error).toMatchObject({ code: 'supervisor_unavailable', message: expect.stringContaining('does not answer') });
  expect([passed > 3_000, passed < 15_000]).toEqual([true, true]);
});
