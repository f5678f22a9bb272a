import { expect, test } from 'bun:test';
import { existsSync, readFileSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureSupervisor } from '../../src/supervisor/ensure.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { liveness } from '../../src/sys/identity.ts';
import { acquirePidLock } from '../../src/sys/lock.ts';
import { type Bench, DROVER, droverBench, writeConfig } from '../support/drover.ts';
import { freeze } from '../support/freeze.ts';
import { leaksOf } from '../support/leaks.ts';
import { errorOf, rehearse, supervisorPid, turnsOf, untilState, untilTalking } from '../support/peek.ts';
import { PACKAGE_DIR } from '../support/store.ts';
import { beforeRemoval, tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const NEVER = 600_000;
const go = (bench: Bench) => join(bench.home, 'go');
const held = (bench: Bench) => ({ turns: [[{ say: 'at work' }, { wait_for_file: go(bench) }, { say: 'done' }]] });
const lockOf = (bench: Bench, name: string) => join(bench.drover_home, `run/${name}.lock`);

/** Whom the watchdog's lock file names; 0 when nobody. */
function watchdogPid(bench: Bench): number {
  const path = lockOf(bench, 'watchdog');
  return existsSync(path) ? Number(readFileSync(path, 'utf8').split('\n')[0]) || 0 : 0;
}

/** Who has only just taken the lock is waited for, as one that comes up. */
function heldForLong(bench: Bench): void {
  const since = new Date(systemClock.now() - 60_000);
  utimesSync(lockOf(bench, 'supervisor'), since, since);
}

interface Status {
  supervisor_silent: boolean;
  watchdog_silent_since_at: string | null;
  sessions: { name: string; verdict: string }[];
}
const verdictOf = ({ sessions }: Status, name: string) => sessions.find((one) => one.name === name)?.verdict;

test('a supervisor that hangs: what fails names down, a watchdog can be started, and down ends it while its turns go on (C-10)', async () => {
  const bench = droverBench({ config: { watchdog: { is_enabled: false, rpc_timeout_ms: NEVER } } });
  await rehearse(bench, 'on', held(bench));
  const { marker } = await untilTalking(bench, 'on');
  const supervisor = supervisorPid(bench);
  await freeze(bench, supervisor);
  heldForLong(bench);
  const up = await bench.run(['--json', 'up']);
  expect([up.code, errorOf(up).code]).toEqual([69, 'supervisor_unavailable']);
  expect(errorOf(up).message).toContain(`pid ${supervisor}`);
  expect(errorOf(up).recovery_commands).toEqual(['drover down', 'drover up']);
  const watch = await bench.run(['watch', '--background', '--json']);
  expect([watch.code, watch.stderr]).toEqual([0, expect.stringContaining('does not answer')]);
  const watchdog = watchdogPid(bench);
  expect(liveness({ pid: watchdog })).toBe('alive');
  const status = await bench.json<Status>(['status']);
  expect([status.supervisor_silent, verdictOf(status, 'on')]).toEqual([true, 'unknown']);
  expect((await bench.run(['status'])).stderr).toContain('the supervisor does not answer');
  const down = await bench.run(['down']);
  expect(down).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('did not answer in time and was ended; 1 turn'),
  });
  expect([liveness({ pid: supervisor }), liveness({ pid: watchdog })]).toEqual(['dead', 'dead']);
  expect(leaksOf(marker).length).toBeGreaterThan(0);
  expect((await bench.run(['up'])).code).toBe(0);
  writeFileSync(go(bench), '');
  await untilState(bench, 'on', 'completed');
  expect(turnsOf(bench, 'on').map(({ turn, outcome }) => [turn, outcome])).toEqual([[1, 'completed']]);
}, 90_000);

test('a down that fails or is interrupted leaves the home with a watchdog (ARCHITECTURE §2)', async () => {
  const bench = droverBench();
  await bench.run(['up']);
  await bench.run(['down']);
  const path = lockOf(bench, 'supervisor');
  const stranger = acquirePidLock(path);
  if (!stranger.acquired) throw new Error('the lock is taken');
  beforeRemoval(() => stranger.lock.release());
  truncateSync(path);
  heldForLong(bench);
  const { pid: first } = await bench.json<{ pid: number }>(['watch', '--background']);
  const child = Bun.spawn([DROVER, 'down'], { cwd: bench.repo, env: bench.env, stdout: 'ignore', stderr: 'ignore' });
  await until('the watchdog is ended', () => liveness({ pid: first }) === 'dead', 20_000);
  child.kill('SIGINT');
  expect(await child.exited).toBe(130);
  const next = (before: number) =>
    until('a watchdog again', () => [watchdogPid(bench)].find((pid) => ![0, before].includes(pid)), 20_000);
  const second = await next(first);
  const failed = await bench.run(['--json', 'down']);
  expect([failed.code, errorOf(failed).code]).toEqual([69, 'supervisor_stuck']);
  await next(second);
  stranger.lock.release();
  expect(await bench.json(['down'])).toMatchObject({ was_up: false, killed: false });
  expect(watchdogPid(bench)).toBe(0);
}, 90_000);

test('a watchdog leaves signs of life; without them ps, doctor and status say so', async () => {
  const bench = droverBench({ config: { watchdog: { interval_ms: NEVER } } });
  await rehearse(bench, 'on', held(bench));
  await untilTalking(bench, 'on');
  const pid = await until('a watchdog runs', () => watchdogPid(bench), 20_000);
  const lock = lockOf(bench, 'watchdog');
  const before = statSync(lock).mtimeMs;
  await until('a sign of life', () => statSync(lock).mtimeMs > before, 20_000);
  expect(await bench.json<Status>(['status'])).toMatchObject({ watchdog_silent_since_at: null });
  await freeze(bench, pid);
  const since = new Date(systemClock.now() - 120_000);
  utimesSync(lock, since, since);
  const ps = await bench.json<{ watchdog: { state: string; seen_at: string } }>(['ps']);
  expect(ps.watchdog).toMatchObject({ state: 'silent', seen_at: since.toISOString() });
  expect((await bench.run(['ps'])).stdout).toContain(`watchdog: pid ${pid} silent since ${since.toISOString()}`);
  const status = await bench.json<Status>(['status']);
  expect([status.watchdog_silent_since_at, verdictOf(status, 'on')]).toEqual([since.toISOString(), 'unknown']);
  expect((await bench.run(['status'])).stderr).toContain('the watchdog is silent for 2m');
  const doctor = await bench.run(['doctor', '--json']);
  expect(doctor.stdout).toContain(`holds its lock and is silent since ${since.toISOString()}`);
  const { pid: other } = await bench.json<{ pid: number }>(['watch', '--background', '--kill-others']);
  expect([liveness({ pid }), other === pid]).toEqual(['dead', false]);
  expect(await bench.json<Status>(['status'])).toMatchObject({ watchdog_silent_since_at: null });
  writeFileSync(go(bench), '');
  await untilState(bench, 'on', 'completed');
}, 90_000);

test('status counts silence by the settings, not by the defaults; broken ones stand aside', async () => {
  const bench = droverBench({ config: { watchdog: { is_enabled: false } } });
  await rehearse(bench, 'on', held(bench));
  await untilTalking(bench, 'on');
  // Its last event may be taken in as late as during these looks: a look right after it finds no silence yet.
  const untilSaid = (word: string) =>
    until(`status says ${word}`, async () => verdictOf(await bench.json<Status>(['status']), 'on') === word, 20_000);
  await untilSaid('ok');
  writeConfig(bench.home, { watchdog: { is_enabled: false, stale_ms: 1, zombie_ms: NEVER } });
  await untilSaid('late');
  writeConfig(bench.home, { watchdog: { is_enabled: false, stale_ms: 1, zombie_ms: 2 } });
  await untilSaid('stuck');
  writeConfig(bench.home, { watchdog: { stale_ms: 'never ever' } });
  await untilSaid('ok');
  writeFileSync(go(bench), '');
  await untilState(bench, 'on', 'completed');
}, 60_000);

test('a home that was removed stays removed when the watchdog brings the supervisor back; a person may make it', async () => {
  const bench = droverBench({ config: { watchdog: { interval_ms: 200 } } });
  const home = join(tempDir('gone'), 'home');
  const env = { ...bench.env, DROVER_HOME: home };
  const brought = ensureSupervisor({ clock: systemClock, home, env, package_dir: PACKAGE_DIR, must_exist: true });
  expect(await brought.catch((error) => error.code)).toBe('supervisor_unavailable');
  expect(existsSync(home)).toBe(false);
  const late = await bench.run(['up', '--foreground', '--existing'], { env: { DROVER_HOME: home } });
  expect([late.code, late.stderr, existsSync(home)]).toEqual([0, expect.stringContaining('no home'), false]);
  await rehearse(bench, 'on', held(bench));
  await untilTalking(bench, 'on');
  await until('a watchdog runs', () => watchdogPid(bench), 20_000);
  const before = supervisorPid(bench);
  process.kill(before, 'SIGKILL');
  const next = await until(
    'another supervisor',
    () => [supervisorPid(bench)].find((pid) => ![0, before].includes(pid)),
    20_000,
  );
  expect(readFileSync(`/proc/${next}/cmdline`, 'utf8').split('\0')).toContain('--existing');
  writeFileSync(go(bench), '');
  await untilState(bench, 'on', 'completed');
}, 60_000);
