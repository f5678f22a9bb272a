import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { type ConfigCache, cachedConfig } from '../session/config-cache.ts';
import type { Deps } from '../session/deps.ts';
import { isTakenDown, makeHome, unmarkDown } from '../session/home.ts';
import { openStore } from '../store/open.ts';
import { releaseLease, takeLease } from '../store/turn.ts';
import { probeCgroup, removeEmptyGroups } from '../sys/cgroup.ts';
import { nextRound } from '../sys/clock.ts';
import { fileExists, fileNumber } from '../sys/directory.ts';
import { openWriteGate } from '../sys/gate.ts';
import { ownIdentity } from '../sys/identity.ts';
import { acquirePidLock } from '../sys/lock.ts';
import { onSignal } from '../sys/signals.ts';
import { type Doorbell, listen } from '../sys/socket.ts';
import { makeSpares } from '../sys/spare.ts';
import { WatchdogKeeper } from './keep-watchdog.ts';
import { SupervisorLoop } from './loop.ts';

export interface SupervisorOptions {
  clock: Clock;
  home: string;
  env: Record<string, string | undefined>;
  package_dir: string;
  version: string;
  /** Leave at once when there is no home, as one that was removed; else it is made. */
  must_exist?: boolean;
  /** When a person wanted it, wall ms; null: nobody has, it is brought back. It leaves when it was taken down since. */
  asked_at: number | null;
  log: (line: string) => void;
  /** Called once the doorbell is answered. */
  on_ready?: () => void;
}

/** SQLite may block the event loop for this long at the most. */
const BUSY_MS = 50;

/**
 * The supervisor of one DROVER_HOME, until it is told to stop. Throws `already_running` (3) when another one holds the
 * lock, and what `openStore` throws.
 */
export async function runSupervisor(options: SupervisorOptions): Promise<void> {
  const { home, clock, log } = options;
  if (options.must_exist && !fileExists(homePaths.database(home))) return log(`there is no home ${home} any more`);
  makeHome(home);
  const locked = acquirePidLock(homePaths.lock(home, 'supervisor'));
  if (!locked.acquired) {
    throw new AppError(
      'refused',
      'already_running',
      `A supervisor of this home already runs (pid ${locked.existing_pid ?? 'unknown'}).`,
      {
        hint: '`drover ps` shows it, `drover down` ends it.',
      },
    );
  }
  try {
    if (isTakenDown(home, options.asked_at)) return log('taken down before it was up');
    unmarkDown(home);
    await serve(options, () => locked.lock.stillHeld());
  } finally {
    locked.lock.release();
    log(`stopped at ${new Date(clock.now()).toISOString()}`);
  }
}

async function serve(options: SupervisorOptions, is_owner: () => boolean): Promise<void> {
  const { home, clock, env, log } = options;
  const gate = openWriteGate(homePaths.gate(home));
  const open = (durability: 'full' | 'normal') =>
    openStore({ path: homePaths.database(home), durability, clock, gate, busy_timeout_ms: BUSY_MS, gather: nextRound });
  const store = await open('full');
  const ingest_store = await open('normal');
  const self = ownIdentity();
  const lease_fence = await takeLease(store, `${self.pid}:${self.start_time}:${self.boot_id}`, clock.now());
  // The lease was just written, so both files exist; while we hold the database nobody else removes its log.
  const files = [homePaths.database(home), homePaths.databaseLog(home)];
  const numbers = files.map(fileNumber);
  const config = cachedConfig(options);
  const deps: Deps = { clock, store, home, env, package_dir: options.package_dir, config_for: config.for };
  const watchdog = new WatchdogKeeper(deps, log);
  let spares = Promise.resolve();
  const loop: SupervisorLoop = new SupervisorLoop({
    deps,
    ingest_store,
    lease_fence,
    is_owner: () => {
      // Of a database that was moved aside, as for a backup, nobody but us would ever hear again.
      const isOurs = is_owner() && files.every((file, i) => fileNumber(file) === numbers[i]);
      if (isOurs) doorbell.tend();
      if (isOurs) watchdog.tend();
      if (isOurs) spares = makeSpares(homePaths.spares(home));
      return isOurs;
    },
    log,
  });
  const doorbell = new Bell(homePaths.socket(home), (line) => answer(line, { loop, config }, options), log);
  // Who sees the doorbell may also ring us down by a signal: it is heard from then on.
  const signals = onSignal(['SIGTERM', 'SIGINT', 'SIGHUP'], () => loop.stop());
  await doorbell.hang();
  log(`supervisor ${self.pid} of ${home}, lease ${lease_fence}`);
  options.on_ready?.();
  // Before the first turn starts: an empty group is nobody's then.
  const emptied = removeEmptyGroups(home);
  log(`control groups: ${probeCgroup().reason}${emptied > 0 ? `; ${emptied} empty ones removed` : ''}`);
  try {
    await loop.run();
    if (is_owner()) await release(deps, lease_fence, log);
  } finally {
    signals.close();
    doorbell.close();
    await spares;
    ingest_store.close();
    store.close();
    gate.close();
  }
}

/** Says that nobody has to bring us back. When it cannot be said, somebody will. */
async function release({ store, clock }: Deps, lease_fence: number, log: (line: string) => void): Promise<void> {
  try {
    await releaseLease(store, lease_fence, clock.now());
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log(`lease: ${error.code}: ${error.message}`);
  }
}

/** The doorbell, hung again when somebody took it away: callers that nobody answers would think that nobody is at home. */
class Bell {
  readonly #path: string;
  readonly #answer: (line: string) => string;
  readonly #log: (line: string) => void;
  #bell: Doorbell | null = null;
  #isHanging = false;

  constructor(path: string, answer: (line: string) => string, log: (line: string) => void) {
    this.#path = path;
    this.#answer = answer;
    this.#log = log;
  }

  async hang(): Promise<void> {
    this.#bell = await listen(this.#path, this.#answer, (error) => this.#log(`doorbell: ${error}`));
  }

  tend(): void {
    if (this.#isHanging || this.#bell === null || this.#bell.isReachable()) return;
    this.#isHanging = true;
    this.#bell.close();
    this.#log('the doorbell is gone, hanging it again');
    void this.hang()
      .catch((error) => this.#log(`doorbell: ${error}`))
      .finally(() => {
        this.#isHanging = false;
      });
  }

  close(): void {
    this.#bell?.close();
  }
}

/** The doorbell understands three words; everything else is a ring. */
function answer(
  line: string,
  { loop, config }: { loop: SupervisorLoop; config: ConfigCache },
  options: SupervisorOptions,
): string {
  if (line === 'down') {
    loop.stop();
    return JSON.stringify({ ok: true, running: loop.runningCount });
  }
  if (line === 'status') {
    const { runningCount: running, disk } = loop;
    return JSON.stringify({ ok: true, pid: process.pid, running, version: options.version, disk_low: disk.isLow });
  }
  // Who rings may have been admitted under settings that changed a moment ago.
  config.expire();
  loop.ring();
  return JSON.stringify({ ok: true });
}
