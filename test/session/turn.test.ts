import { afterEach, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { homePaths } from '../../src/model/home.ts';
import { relaunchTurn, type Start, startTurn } from '../../src/session/turn.ts';
import { getSession } from '../../src/store/session.ts';
import { getTurn, takeLease } from '../../src/store/turn.ts';
import { wasNeverStarted } from '../../src/supervisor/observe.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { holdTurn } from '../../src/sys/launch.ts';
import { makeSpares } from '../../src/sys/spare.ts';
import { killTree } from '../../src/sys/tree.ts';
import { turnProcesses } from '../../src/sys/turn-files.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { seedSession, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const begun: Start[] = [];

afterEach(async () => {
  for (const { started } of begun.splice(0)) {
    if (started === null) continue;
    await killTree(turnProcesses(started.turn.dir, started.turn.marker), { clock: systemClock, spare_ms: 0 });
    await started.exited;
  }
});

/** A queued session of a harness that leaves a line where it ran. */
async function world() {
  const dir = tempDir();
  const ran = join(dir, 'ran');
  const harness_runners = {
    stamp: { program: '/bin/sh', base_args: ['-c', `cat >>'${ran}'; echo ran >>'${ran}'`], stdin_prompt: true },
  };
  const test_store = await testStore();
  const config = { ...DEFAULT_CONFIG, harness_runners: { ...DEFAULT_CONFIG.harness_runners } };
  mkdirSync(join(dir, '.config/drover'), { recursive: true });
  writeFileSync(join(dir, '.config/drover/config.yaml'), JSON.stringify({ harness_runners }));
  const { loadConfig } = await import('../../src/session/config.ts');
  const loaded = await loadConfig({ HOME: dir, XDG_CONFIG_HOME: join(dir, '.config') }, dir);
  const deps = { ...test_store.deps, config_for: async () => ({ ...config, ...loaded }) };
  const fence = await takeLease(test_store.store, 'test', Date.now());
  const session = await seedSession(test_store, { harness: 'stamp', repo_root: dir, working_dir: dir, role: 'solo' });
  return { ...test_store, deps, fence, session, ran };
}

const keep = <Of extends Start>(start: Of): Of => {
  begun.push(start);
  return start;
};

test('start: nothing runs before the claim is on the disk; what the disk did not take is started later, once (O-54)', async () => {
  const { deps, home, store, fence, session, ran } = await world();
  const log = homePaths.databaseLog(home);
  // What cannot be opened cannot be synced; the database itself goes on with the file it has open.
  renameSync(log, `${log}.away`);
  await expect(startTurn(deps, session.id, fence)).rejects.toMatchObject({ code: 'store_io' });
  renameSync(`${log}.away`, log);
  const [row, turn] = [await getSession(store, session.id), await getTurn(store, session.id, 1)];
  if (row === null || turn === null) throw new Error('it is claimed');
  expect([row.state, turn.ended_at, turn.pid]).toEqual(['booting', null, null]);
  await assertNoLeaks(turn.marker);
  expect([existsSync(ran), await wasNeverStarted(systemClock, turn)]).toEqual([false, true]);
  const { started } = keep(await relaunchTurn(deps, row, turn));
  await started?.exited;
  expect(readFileSync(ran, 'utf8')).toContain('mend the fence');
  expect(readFileSync(ran, 'utf8').match(/^ran$/gm)).toHaveLength(1);
  expect(await wasNeverStarted(systemClock, turn)).toBe(false);
});

test('start: a spare directory becomes that of a new session, and its first turn runs in it', async () => {
  const { deps, home, fence, session, ran } = await world();
  mkdirSync(join(home, 'sessions'));
  await makeSpares(homePaths.spares(home));
  const { started } = keep(await startTurn(deps, session.id, fence));
  await started?.exited;
  expect(readFileSync(ran, 'utf8')).toContain('mend the fence');
  expect(existsSync(join(homePaths.spares(home), '1'))).toBe(false);
});

test('start: a claim whose launcher still waits for a starter that is gone was never started', async () => {
  const here = await testStore();
  const { turn } = await takeTurn(here, (await seedSession(here)).id);
  mkdirSync(turn.dir, { recursive: true });
  const launch = { program: '/bin/sleep', args: ['60'], cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdin_path: null };
  const held = holdTurn({ dir: turn.dir, marker: turn.marker, ...launch });
  let looks = 0;
  const clock = {
    ...systemClock,
    sleep: async (ms: number) => {
      looks += 1;
      if (looks === 3) held.drop();
      await systemClock.sleep(ms);
    },
  };
  expect([await wasNeverStarted(clock, turn), looks]).toEqual([true, 3]);
  await assertNoLeaks(turn.marker);
  const running = holdTurn({ dir: turn.dir, marker: turn.marker, ...launch });
  const looking = wasNeverStarted({ ...systemClock, sleep: async () => void running.run() }, turn);
  // It goes on from here, so it is nobody else's to start, whether or not its record stands yet.
  expect(await looking).toBe(false);
  await killTree({ marker: turn.marker, launcher: null }, { clock: systemClock, spare_ms: 0 });
  await assertNoLeaks(turn.marker);
});
