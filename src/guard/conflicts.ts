import type { Config } from '../model/config.ts';
import type { ConflictEnforcementOutcome, Touch } from '../model/conflict.ts';
import { AppError } from '../model/error.ts';
import type { IncidentRow } from '../model/incident.ts';
import type { Deps } from '../session/deps.ts';
import { storePredictions } from '../session/prediction.ts';
import { writesAfter } from '../store/activity.ts';
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
 * One pass over new writes of one repository, by its settings (E-127): incidents that are over are ended, new ones opened.
 * Switched off: nothing is asked and nothing is done. Throws what the store throws.
 */
export async function enforceConflicts(
  deps: Pick<Deps, 'store'>,
  { repo_root, writes, conflicts, now }: Pass & { conflicts: Config['conflicts'] },
): Promise<ConflictEnforcementOutcome & { incidents: IncidentRow[] }> {
  const { is_enabled, ...settings } = conflicts;
  const none = { created_incidents: 0, resolved_incidents: 0, paused_sessions: [], incidents: [] };
  if (!is_enabled) return { strategy: settings.strategy, ...none };
  const resolved = await sweepIncidents(deps.store, now);
  const { created, paused } = await judgeWrites(deps.store, { repo_root, writes, settings, now });
  return {
    strategy: settings.strategy,
    created_incidents: created.length,
    resolved_incidents: resolved.length,
    paused_sessions: paused,
    incidents: created,
  };
}

/**
 * Watches what sessions write: remembers how far the log of file activity was judged, and looks on from there. After a
 * restart the newest writes of the living are judged again, which changes nothing that is known.
 */
export class ConflictGuard {
  readonly #deps: Needs;
  /** Work that nobody has to wait for. */
  readonly #later: (work: () => Promise<void>) => void;
  #seen: number | null = null;

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
      if (news === null) return lines;
      for (const [repo_root, writes] of Map.groupBy(news.writes, (write) => write.repo_root)) {
        for (let at = 0; at < writes.length; at += CHUNK)
          lines.push(...(await this.#enforce({ repo_root, writes: writes.slice(at, at + CHUNK), now })));
      }
      this.#seen = news.seq;
    }
  }

  async #enforce(pass: Pass): Promise<string[]> {
    let conflicts: Config['conflicts'];
    try {
      conflicts = (await this.#deps.config_for(pass.repo_root)).conflicts;
    } catch (error) {
      // Settings that cannot be read are told to whoever starts something there; the other repositories go on.
      if (!(error instanceof AppError) || error.kind === 'bug') throw error;
      return [`conflicts in ${pass.repo_root}: ${error.code}: ${error.message}`];
    }
    const { incidents } = await enforceConflicts(this.#deps, { ...pass, conflicts });
    if (incidents.length > 0) this.#later(() => storePredictions(this.#deps, incidents));
    return incidents.map(({ summary }) => summary);
  }
}
