import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { template } from '../session/control.ts';
import type { Deps } from '../session/deps.ts';
import { ownSession } from '../session/own-session.ts';
import { digestOf, newsFor, sendDigest } from '../store/digest.ts';
import { digestText, patrolDue } from './patrol-digest.ts';

/**
 * Tier 2: one session of the role `monitor` that lives on, and is woken by one mail with what the watchdog found. It has
 * the rights of its role and writes no state. What it was told is known from its mail alone.
 */
export class Patrol {
  readonly #deps: Deps;
  readonly #log: (line: string) => void;
  #trouble = '';

  constructor(deps: Deps, log: (line: string) => void) {
    this.#deps = deps;
    this.#log = log;
  }

  /** True when it was woken: the supervisor has something to start. Throws nothing that only keeps it from being woken. */
  async tend(): Promise<boolean> {
    const { config_for, home, clock } = this.#deps;
    try {
      const config = await config_for(home);
      if (config.watchdog.patrol_harness === null) return false;
      const isWoken = await this.#wake(config, config.watchdog.patrol_harness, clock.now());
      this.#trouble = '';
      if (isWoken) this.#log('patrol: woken');
      return isWoken;
    } catch (error) {
      if (!(error instanceof AppError) || error.kind === 'bug') throw error;
      if (this.#trouble !== error.message) this.#log(`patrol: ${error.code}: ${error.message}`);
      this.#trouble = error.message;
      return false;
    }
  }

  async #wake(config: Config, harness: string, now: number): Promise<boolean> {
    const { home, store } = this.#deps;
    const desks = { desk: homePaths.desk(home, 'patrol'), other: homePaths.desk(home, 'triage') };
    const news = await newsFor(store, desks, now);
    if (!patrolDue(news, config.watchdog, now)) return false;
    const lines = await digestOf(store, desks, news, now);
    const own = { name: 'patrol', role: 'monitor', harness, model: null, max_turns: null, timeout_ms: null };
    const task = template(this.#deps, 'patrol').trim();
    const sling = { ...ownSession(this.#deps, config, { ...own, task, desk: desks.desk }), now };
    const subject = `${lines.length === 1 ? 'One session' : `${lines.length} sessions`} to look at`;
    return sendDigest(store, { desk: desks.desk, sling, news, subject, body: digestText(lines, now), now });
  }
}
