import type { ConflictEnforcementOutcome, Touch } from '../model/conflict.ts';
import type { Deps } from '../session/deps.ts';
import { storePredictions } from '../session/prediction.ts';
import { type News, writesAfter } from '../store/activity.ts';
import { judgeWrites } from '../store/incident.ts';
import { sweepIncidents } from '../store/incident-end.ts';

/** Writes that are judged in one transaction. */
const CHUNK = 500;

type Needs = Pick<Deps, 'store' | 'clock' | 'config_for'>;

/** New writes of one repository. */
interface Pass {
  repo_root: string;
  writes: readonly Touch[];
  now: number;
}

/**
 * Watches what sessions write: remembers how far it was judged, and looks on from there. After a restart the newest writes
 * of the living are judged again, which changes nothing that is known.
 */
export class ConflictGuard {
  readonly #deps: Needs;
  /** Work that nobody has to wait for. */
  readonly #later: (work: () => Promise<void>) => void;
  #seen: News['read'] | null = null;

  constructor(deps: Needs, later: (work: () => Promise<void>) => void) {
    this.#deps = deps;
    this.#later = later;
  }

  /** Returns lines for the log. Two small reads while nothing was written and nothing is open. */
  async look(now: number): Promise<string[]> {
    const resolved = await sweepIncidents(this.#deps.store, now);
    const lines = resolved.map(({ path, resolution }) => `conflict on ${path}: over (${resolution})`);
    for (;;) {
      const news = await writesAfter(this.#deps.store, this.#seen, CHUNK);
      for (const [repo_root, writes] of Map.groupBy(news.writes, (write) => write.repo_root)) {
        for (let at = 0; at < writes.length; at += CHUNK)
          lines.push(...(await this.enforce({ repo_root, writes: writes.slice(at, at + CHUNK), now })).summaries);
      }
      this.#seen = news.read;
      if (news.writes.length === 0) return lines;
    }
  }

  /**
   * One pass over new writes of one repository, by its settings (E-127): incidents that are over are ended, new ones opened,
   * and a merge of the two predicted for each beside. Switched off: nothing is done. Throws what the store throws.
   */
  async enforce({ repo_root, writes, now }: Pass): Promise<ConflictEnforcementOutcome> {
    const { store } = this.#deps;
    const { is_enabled, ...settings } = (await this.#deps.config_for(repo_root)).conflicts;
    const { strategy } = settings;
    if (!is_enabled)
      return { strategy, created_incidents: 0, resolved_incidents: 0, paused_sessions: [], summaries: [] };
    const resolved = await sweepIncidents(store, now);
    const { created, paused } = await judgeWrites(store, { repo_root, writes, settings, now });
    if (created.length > 0) this.#later(() => storePredictions(this.#deps, created));
    return {
      strategy,
      created_incidents: created.length,
      resolved_incidents: resolved.length,
      paused_sessions: paused,
      summaries: created.map(({ summary }) => summary),
    };
  }
}
