import { homePaths } from '../model/home.ts';
import type { Deps } from '../session/deps.ts';
import { tellOperator } from '../session/tell-operator.ts';
import { isFlocked } from '../sys/flock.ts';
import { Restarter } from '../watchdog/restarter.ts';
import { startWatchdog } from './ensure.ts';

/** The first look at it: a supervisor that lives for a moment only needs none. And then again and again. */
const FIRST_MS = 1_500;
const EVERY_MS = 10_000;

/** Keeps a watchdog running beside the supervisor, as that one keeps a supervisor (ARCHITECTURE §2). */
export class WatchdogKeeper {
  readonly #deps: Deps;
  readonly #log: (line: string) => void;
  readonly #restarter: Restarter;
  #nextLook: number;

  constructor(deps: Deps, log: (line: string) => void) {
    this.#deps = deps;
    this.#log = log;
    this.#nextLook = deps.clock.monotonic() + FIRST_MS;
    this.#restarter = new Restarter({
      clock: deps.clock,
      start: async () => log(`starting a watchdog: ${startWatchdog(deps).pid}`),
      give_up: () =>
        tellOperator(deps, {
          subject: 'The watchdog does not stay up',
          body: `It ended again and again and is left down for a minute. Its log: ${homePaths.log(deps.home, 'watchdog')}`,
        }),
    });
  }

  /** Called often; looks now and then, in the background. */
  tend(): void {
    const now = this.#deps.clock.monotonic();
    if (now < this.#nextLook) return;
    this.#nextLook = now + EVERY_MS;
    this.#look().catch((error) => this.#log(`watchdog: ${error}`));
  }

  async #look(): Promise<void> {
    const { home } = this.#deps;
    if (isFlocked(homePaths.lock(home, 'watchdog'))) return;
    if ((await this.#deps.config_for(home)).watchdog.is_enabled) await this.#restarter.restart();
  }
}
