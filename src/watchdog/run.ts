import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { cachedConfig } from '../session/config-cache.ts';
import type { Deps } from '../session/deps.ts';
import { isTakenDown, makeHome } from '../session/home.ts';
import { openStore } from '../store/open.ts';
import { fileExists, fileNumber } from '../sys/directory.ts';
import { isFlocked } from '../sys/flock.ts';
import { openWriteGate } from '../sys/gate.ts';
import { ownIdentity } from '../sys/identity.ts';
import { acquirePidLock, type PidLock } from '../sys/lock.ts';
import { onSignal } from '../sys/signals.ts';
import { Awake } from './awake.ts';
import { Backups } from './backup.ts';
import { Companion } from './companion.ts';
import { Kills } from './kills.ts';
import { Patrol } from './patrol.ts';
import { Unsettled } from './unsettled.ts';
import { watchUsage } from './usage.ts';
import { type TickReport, Watcher } from './watcher.ts';

export interface WatchdogOptions {
  clock: Clock;
  home: string;
  env: Record<string, string | undefined>;
  package_dir: string;
  /** Overrides the settings. */
  interval_ms: number | null;
  /** Started by the supervisor, and ends with it. */
  is_companion: boolean;
  /** Starts a supervisor unless one runs. Injected: it stands above this room. */
  start_supervisor: () => Promise<void>;
  log: (line: string) => void;
}

/** The supervisor is looked at this often, however long the interval: a look at its lock costs nothing. */
const COMPANION_MS = 5_000;
/** A kill that is under way when we are told to end may take this long. */
const FAREWELL_MS = 8_000;

/**
 * The watchdog of one DROVER_HOME, until it is told to stop, or, as the supervisor's companion, until that one has ended
 * in good order. Throws `already_running` (3) when another one holds the lock, and what `openStore` throws.
 */
export async function runWatchdog(options: WatchdogOptions): Promise<void> {
  const { home, log } = options;
  // A companion that comes late must not make a home that was removed meanwhile.
  if (options.is_companion && !fileExists(homePaths.database(home))) return;
  makeHome(home);
  const locked = acquirePidLock(homePaths.lock(home, 'watchdog'));
  if (!locked.acquired) {
    throw new AppError(
      'refused',
      'already_running',
      `A watchdog of this home already runs (pid ${locked.existing_pid ?? 'unknown'}).`,
      { hint: '`drover watch --kill-others` takes its place.', recovery_commands: ['drover watch --kill-others'] },
    );
  }
  try {
    if (options.is_companion && isTakenDown(home, null)) return log('taken down before it was up');
    await serve(options, locked.lock);
  } finally {
    locked.lock.release();
    log('stopped');
  }
}

async function serve(options: WatchdogOptions, lock: PidLock): Promise<void> {
  const { clock, home, env, package_dir, log } = options;
  const stop = new AbortController();
  const signals = onSignal(['SIGTERM', 'SIGINT', 'SIGHUP'], () => stop.abort());
  const gate = openWriteGate(homePaths.gate(home));
  const database = homePaths.database(home);
  const store = await openStore({ path: database, durability: 'full', clock, gate });
  const number = fileNumber(database);
  const deps: Deps = { clock, store, home, env, package_dir, config_for: cachedConfig(options).for };
  const kills = new Kills(clock, log);
  log(`watchdog ${ownIdentity().pid} of ${home}`);
  try {
    // Of a database that was moved aside nobody but us would ever hear again.
    await watch(options, deps, {
      kills,
      stop: stop.signal,
      isOurs: () => lock.stillHeld() && fileNumber(database) === number,
      showLife: () => signOfLife(lock, clock, log),
    });
    const patience = new AbortController();
    await Promise.race([kills.idle(), clock.sleep(FAREWELL_MS, patience.signal)]);
    patience.abort();
  } finally {
    signals.close();
    store.close();
    gate.close();
  }
}

async function watch(
  options: WatchdogOptions,
  deps: Deps,
  { kills, stop, isOurs, showLife }: { kills: Kills; stop: AbortSignal; isOurs: () => boolean; showLife: () => void },
): Promise<void> {
  const { clock, log } = options;
  const awake = new Awake(clock.now(), clock.monotonic());
  const watcher = new Watcher({ deps, awake, kills, may_act: true, log });
  const companion = new Companion({ deps, start_supervisor: options.start_supervisor, log });
  const backups = new Backups(options);
  const patrol = new Patrol(deps, log);
  const unsettled = new Unsettled(deps);
  let next = clock.monotonic();
  while (!stop.aborted && isOurs()) {
    showLife();
    // Settings of the home itself: the user's.
    const { watchdog } = await deps.config_for(deps.home);
    const interval_ms = options.interval_ms ?? watchdog.interval_ms;
    const isDue = clock.monotonic() >= next;
    let isAwake = true;
    if (isDue) {
      next = clock.monotonic() + interval_ms;
      const report = await watcher.tick(interval_ms, Math.min(COMPANION_MS, Math.max(1_000, interval_ms)));
      isAwake = report.wakefulness === 'steady';
      if ((await patrol.tend()) || report.rings) void companion.ring();
      await unsettledLook(unsettled, report, log);
      backups.tend();
    }
    // Oftener than a look: memory can run out within seconds.
    if (await usageLook(deps, log)) void companion.ring();
    const doubts = isDue ? { timeout_ms: watchdog.rpc_timeout_ms, is_awake: isAwake } : null;
    const hasLeft = await companionLook(companion, doubts, log);
    if (hasLeft && options.is_companion) return;
    await clock.sleep(Math.max(1, Math.min(next - clock.monotonic(), COMPANION_MS)), stop);
  }
}

/** What tells a watchdog that only waits from one that hangs. One that cannot be left now is tried again. */
function signOfLife(lock: PidLock, clock: Clock, log: (line: string) => void): void {
  try {
    lock.showLife(clock.now());
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log(`sign of life: ${error.code}: ${error.message}`);
  }
}

/** True when a turn outgrew its cap and has to be ended. */
async function usageLook(deps: Deps, log: (line: string) => void): Promise<boolean> {
  try {
    const parked = await watchUsage(deps);
    for (const { name, turn, evidence } of parked) log(`${name} turn ${turn}: parked: ${evidence}`);
    return parked.length > 0;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log(`usage: ${error.code}: ${error.message}`);
    return false;
  }
}

/** A mail that cannot be stored now is tried again at the next look. */
async function unsettledLook(unsettled: Unsettled, report: TickReport, log: (line: string) => void): Promise<void> {
  try {
    if (await unsettled.tend(report)) log('turns wait for the supervisor: the operator was told');
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log(`unsettled: ${error.code}: ${error.message}`);
  }
}

/** A supervisor that cannot be brought back now is tried again; watching goes on. */
async function companionLook(
  companion: Companion,
  doubts: Parameters<Companion['look']>[0],
  log: (line: string) => void,
): Promise<boolean> {
  try {
    return await companion.look(doubts);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log(`supervisor: ${error.code}: ${error.message}`);
    return false;
  }
}

/** One look by itself. `is_watched`: a watchdog is at work, and acts. */
export interface OneLook {
  report: TickReport;
  is_watched: boolean;
}

/**
 * Looks once and changes nothing. Ages count by the rows alone: a single look cannot know whether the machine slept
 * meanwhile, and who does not know that must not end anybody.
 */
export async function watchOnce(deps: Deps, log: (line: string) => void): Promise<OneLook> {
  const { clock, home } = deps;
  const awake = new Awake(clock.now(), clock.monotonic(), 0);
  const watcher = new Watcher({ deps, awake, kills: new Kills(clock, log), may_act: false, log });
  const { watchdog } = await deps.config_for(home);
  const report = await watcher.tick(watchdog.interval_ms);
  return { report, is_watched: isFlocked(homePaths.lock(home, 'watchdog')) };
}
