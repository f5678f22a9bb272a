import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { makeHome } from '../session/home.ts';
import { groupOutsideTurns } from '../sys/cgroup.ts';
import { type Daemon, startDaemon } from '../sys/daemon.ts';
import { tailBytes } from '../sys/files.ts';
import { ask } from '../sys/socket.ts';

const START_MS = 15_000;
const ANSWER_MS = 2_000;

export interface EnsureOptions {
  clock: Clock;
  home: string;
  env: Record<string, string | undefined>;
  package_dir: string;
}

/** Rings the supervisor; false when none answers. */
export async function ring(home: string, word = 'ring'): Promise<string | null> {
  return ask(homePaths.socket(home), word, ANSWER_MS);
}

/**
 * Rings the supervisor and starts one when nobody answers, as tmux and adb do. What was stored before is safe either
 * way. Throws `supervisor_unavailable` (69) with the end of its log when it does not come up.
 */
export async function ensureSupervisor(options: EnsureOptions): Promise<void> {
  const { clock, home } = options;
  if ((await ring(home)) !== null) return;
  makeHome(home);
  const log = homePaths.log(home, 'supervisor');
  const daemon = startSupervisor(options, log);
  const deadline = clock.monotonic() + START_MS;
  while (clock.monotonic() < deadline) {
    if ((await ring(home)) !== null) return;
    // A second starter loses the lock and exits at once; the winner answers soon.
    if (daemon.hasExited() && (await ring(home)) === null && clock.monotonic() > deadline - START_MS + 3_000) break;
    await clock.sleep(15);
  }
  throw unavailable(`See ${log}: ${tailBytes(log, 600).toString('utf8').trim().split('\n').at(-1) ?? ''}`);
}

function startSupervisor({ home, env, package_dir }: EnsureOptions, log: string): Daemon {
  try {
    return startDaemon({
      command: [`${package_dir}/bin/drover`, 'up', '--foreground'],
      log,
      cwd: home,
      env: { ...daemonEnvironment(env), DROVER_HOME: home },
      group: groupOutsideTurns(home),
    });
  } catch (error) {
    throw error instanceof AppError && error.kind !== 'bug' ? unavailable(error.message) : error;
  }
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
