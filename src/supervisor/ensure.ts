import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { isTakenDown, makeHome, unmarkDown } from '../session/home.ts';
import { groupOutsideTurns } from '../sys/cgroup.ts';
import { type Daemon, startDaemon } from '../sys/daemon.ts';
import { fileExists } from '../sys/directory.ts';
import { tailBytes } from '../sys/files.ts';
import { isFlocked } from '../sys/flock.ts';
import { lastSignOf, readPidLock } from '../sys/pid-file.ts';
import { ask } from '../sys/socket.ts';

/** So long a supervisor may take to come up, counted from when it took its lock. */
const START_MS = 15_000;
/** So long one is asked that should have answered by now. */
const HUNG_MS = 3_000;
const ANSWER_MS = 2_000;

export interface EnsureOptions {
  clock: Clock;
  home: string;
  env: Record<string, string | undefined>;
  package_dir: string;
  /** Nobody asked for it just now: a home that was removed meanwhile stays removed, and what was taken down stays down. */
  must_exist?: boolean;
}

/** Rings the supervisor; false when none answers. */
export async function ring(home: string, word = 'ring'): Promise<string | null> {
  return ask(homePaths.socket(home), word, ANSWER_MS);
}

/**
 * Rings the supervisor and starts one when nobody answers, as tmux and adb do. What was stored before is safe either
 * way. Throws `supervisor_unavailable` (69) with the end of its log when it does not come up, or with what to do about
 * one that holds its lock and does not answer.
 */
export async function ensureSupervisor(options: EnsureOptions): Promise<void> {
  const { clock, home } = options;
  if ((await ring(home)) !== null) return;
  if (!options.must_exist) {
    makeHome(home);
    unmarkDown(home);
  } else if (!fileExists(homePaths.database(home))) throw unavailable(`There is no home ${home} any more.`);
  else if (isTakenDown(home, null)) throw unavailable('`drover down` has ended it; `drover up` starts another one.');
  const log = homePaths.log(home, 'supervisor');
  const lock = homePaths.lock(home, 'supervisor');
  const daemon = startSupervisor(options, log);
  const start = clock.monotonic();
  // Its file was written when it was taken, and not again.
  const isStarting = () => isFlocked(lock) && clock.now() - lastSignOf(lock) < START_MS;
  while (clock.monotonic() - start < START_MS) {
    if ((await ring(home)) !== null) return;
    // A second starter loses the lock and exits at once; the winner answers as soon as it has come up.
    if (daemon.hasExited() && clock.monotonic() - start > HUNG_MS && !isStarting() && (await ring(home)) === null)
      break;
    await clock.sleep(15);
  }
  if (isFlocked(lock)) throw silent(home);
  throw unavailable(`See ${log}: ${tailBytes(log, 600).toString('utf8').trim().split('\n').at(-1) ?? ''}`);
}

function startSupervisor({ clock, home, env, package_dir, must_exist }: EnsureOptions, log: string): Daemon {
  const how = must_exist ? ['--existing'] : ['--asked-at', String(clock.now())];
  try {
    return startDaemon({
      command: [`${package_dir}/bin/drover`, 'up', '--foreground', ...how],
      log,
      cwd: home,
      env: { ...daemonEnvironment(env), DROVER_HOME: home },
      group: groupOutsideTurns(home),
    });
  } catch (error) {
    throw error instanceof AppError && error.kind !== 'bug' ? unavailable(error.message) : error;
  }
}

/** One that hangs: it has to go before another one can come. */
function silent(home: string): AppError {
  const pid = readPidLock(homePaths.lock(home, 'supervisor'))?.pid ?? 'unknown';
  const message = `A supervisor (pid ${pid}) holds its lock but does not answer.`;
  return new AppError('unavailable', 'supervisor_unavailable', message, {
    hint: '`drover down` ends it, running turns go on; `drover up` starts another one, which adopts them.',
    preserved: 'what was stored stays stored and starts with the next supervisor',
    recovery_commands: ['drover down', 'drover up'],
  });
}

function unavailable(hint: string): AppError {
  return new AppError('unavailable', 'supervisor_unavailable', 'The supervisor could not be started.', {
    hint,
    preserved: 'what was stored stays stored and starts with the next supervisor',
    recovery_commands: ['drover up --foreground'],
  });
}

/** Starts a watchdog that ends with the supervisor; one that finds another at work ends at once. */
export function startWatchdog(options: Omit<EnsureOptions, 'clock'>, args: readonly string[] = []): Daemon {
  const { home, env, package_dir } = options;
  return startDaemon({
    command: [`${package_dir}/bin/drover`, 'watch', '--companion', ...args],
    log: homePaths.log(home, 'watchdog'),
    cwd: home,
    env: { ...daemonEnvironment(env), DROVER_HOME: home },
    group: groupOutsideTurns(home),
  });
}

/** The daemon outlives the session that happened to start it: it must not inherit that session's identity. */
function daemonEnvironment(env: Record<string, string | undefined>): Record<string, string> {
  const entries = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && (!entry[0].startsWith('DROVER_') || entry[0] === 'DROVER_REHEARSAL_SCRIPT'),
  );
  return Object.fromEntries(entries);
}
