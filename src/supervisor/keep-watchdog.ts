import { homePaths } from '../model/home.ts';
import type { Deps } from '../session/deps.ts';
import { tellOperator } from '../store/operator-mail.ts';
import { isFlocked } from '../sys/flock.ts';
import { killOwner, lastSignOf, readPidLock, SILENT_MS } from '../sys/pid-file.ts';
import { Awake } from '../watchdog/awake.ts';
import { type Restarter, restarters } from '../watchdog/restarter.ts';
import { startWatchdog } from './ensure.ts';

/** The first look at it: a supervisor that lives for a moment only needs none. And then again and again. */
const FIRST_MS = 1_500;
const EVERY_MS = 10_000;

/** A sign of life, whose it was, and when we first saw it; on a clock that never jumps. */
interface Sign {
  pid: number;
  at: number;
  since: number;
}

/** Keeps a watchdog running beside the supervisor, as that one keeps a supervisor (ARCHITECTURE §2). */
export class WatchdogKeeper {
  readonly #deps: Deps;
  readonly #log: (line: string) => void;
  readonly #starter: Restarter;
  readonly #killer: Restarter;
  readonly #awake: Awake;
  readonly #lock: string;
  #sign: Sign | null = null;
  #nextLook: number;

  constructor(deps: Deps, log: (line: string) => void) {
    this.#deps = deps;
    this.#log = log;
    this.#lock = homePaths.lock(deps.home, 'watchdog');
    this.#nextLook = deps.clock.monotonic() + FIRST_MS;
    this.#awake = new Awake(deps.clock.now(), deps.clock.monotonic());
    const { starter, killer } = restarters({
      clock: deps.clock,
      start: async () => log(`starting a watchdog: ${startWatchdog(deps).pid}`),
      kill: async () => this.#kill(),
      tell: (what, body) => this.#tell(what, body),
    });
    this.#starter = starter;
    this.#killer = killer;
  }

  /** Called often; looks now and then, in the background. */
  tend(): void {
    const now = this.#deps.clock.monotonic();
    if (now < this.#nextLook) return;
    this.#nextLook = now + EVERY_MS;
    this.#look().catch((error) => this.#log(`watchdog: ${error}`));
  }

  async #look(): Promise<void> {
    const silent_ms = this.#silence();
    if (silent_ms === 0) this.#meet(readPidLock(this.#lock)?.pid ?? 0);
    if (silent_ms !== null && silent_ms <= SILENT_MS) return;
    const { watchdog } = await this.#deps.config_for(this.#deps.home);
    // One that a person keeps instead is the person's.
    if (!watchdog.is_enabled) return;
    if (silent_ms === null) await this.#starter.restart();
    else await this.#killer.restart();
  }

  /**
   * How long its lock has shown the same sign of life while we looked without a break, ms; 0 for a new one, null when none
   * holds the lock. It wakes oftener than we look, so one that is well always shows a new one.
   */
  #silence(): number | null {
    const { clock } = this.#deps;
    const now = clock.monotonic();
    const isSteady = this.#awake.look(clock.now(), now, EVERY_MS) === 'steady';
    if (!isFlocked(this.#lock)) {
      this.#sign = null;
      return null;
    }
    const [pid, at] = [readPidLock(this.#lock)?.pid ?? 0, lastSignOf(this.#lock)];
    const before = isSteady ? this.#sign : null;
    const isSame = before !== null && before.pid === pid && before.at === at;
    this.#sign = { pid, at, since: isSame ? before.since : now };
    return now - this.#sign.since;
  }

  #meet(pid: number): void {
    this.#starter.sawWell(pid);
    this.#killer.sawWell(pid);
  }

  /** It may be killed at any instruction, as we may. The next look finds its lock free. */
  #kill(): void {
    const pid = killOwner(this.#lock);
    if (pid === null) this.#log('the watchdog gives no sign of life and could not be ended: its lock proves nobody');
    else this.#log(`the watchdog ${pid} gave no sign of life for more than ${SILENT_MS / 1000} s: ended`);
    this.#nextLook = this.#deps.clock.monotonic() + FIRST_MS;
  }

  async #tell(what: string, body: string): Promise<void> {
    const { clock, home, store } = this.#deps;
    const mail = { subject: `The watchdog ${what}`, body: `${body} Its log: ${homePaths.log(home, 'watchdog')}` };
    await tellOperator(store, mail, clock.now());
  }
}
