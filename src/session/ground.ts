import { harnessWords } from '../harness/registry.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import type { Deps } from './deps.ts';
import { knownRoles } from './roles.ts';
import { launchOf, type Place, placeOf, refuseLaunch, type SlingLaunch } from './sling.ts';

/** What of drover a look at a directory needs: no store. */
export type GroundDeps = Pick<Deps, 'env' | 'package_dir' | 'config_for'>;

/** Where work is to be started, and what may be asked for there. */
export interface Ground {
  /** Null: no repository, so nothing can be started. */
  place: Place | null;
  /** Why there is none, for whoever wants to start something. */
  refusal: AppError | null;
  config: Config;
  profiles: ReadonlySet<string>;
  /** Aliases and `auto` included. */
  harnesses: ReadonlySet<string>;
  roles: ReadonlySet<string>;
}

/** Looks at a directory and its settings; changes nothing. Throws `config_invalid` (2), and those of `git`. */
export async function groundOf(deps: GroundDeps, cwd: string): Promise<Ground> {
  const found = await placeOf(cwd).catch((error: unknown) => {
    if (error instanceof AppError && (error.code === 'not_a_repository' || error.code === 'cwd_missing')) return error;
    throw error;
  });
  const place = found instanceof AppError ? null : found;
  const config = await deps.config_for(place?.main_root ?? cwd);
  return {
    place,
    refusal: found instanceof AppError ? found : null,
    config,
    profiles: new Set(Object.keys(config.profiles)),
    harnesses: new Set(harnessWords(config.harness_runners)),
    roles: new Set(knownRoles(deps)),
  };
}

/** How a session with these wishes would be started there, remembered: a plan asks the same of thousands of steps. */
export function launcher(deps: GroundDeps, { place, config }: Pick<Ground, 'place' | 'config'>, cwd: string) {
  const known = new Map<string, SlingLaunch>();
  return (wanted: { harness: string | null; profile: string | null; role: string | null }): SlingLaunch => {
    const key = JSON.stringify([wanted.harness, wanted.profile, wanted.role]);
    const launch = known.get(key) ?? launchOf(deps, config, place?.root ?? cwd, wanted);
    known.set(key, launch);
    return launch;
  };
}

/** Everything that would refuse such a session later is said now. Throws `harness_not_installed`, `repository_untrusted` (3). */
export function refuseLaunches(
  deps: GroundDeps,
  config: Config,
  place: Place,
  launches: Iterable<Pick<SlingLaunch, 'harness'>>,
): void {
  const seen = new Set<string>();
  for (const { harness } of launches) {
    if (!seen.has(harness.id)) refuseLaunch(deps, config, place, harness);
    seen.add(harness.id);
  }
}
