import type { Config } from '../model/config.ts';
import { homePaths } from '../model/home.ts';
import type { SessionRow } from '../model/session.ts';

/** Places beside those of `max_live_sessions`: who looks after the others must not wait for one of them to end. */
const OWN_SLOTS = 4;

/** Where drover's own sessions sit: what they have for a repository. */
export function ownDesks(home: string): string[] {
  return [homePaths.desk(home, 'triage'), homePaths.desk(home, 'patrol')];
}

/** How many turns may be in flight when one of this session starts. */
export function slotsFor(home: string, { repo_root }: Pick<SessionRow, 'repo_root'>, config: Config): number {
  return config.max_live_sessions + (ownDesks(home).includes(repo_root) ? OWN_SLOTS : 0);
}
