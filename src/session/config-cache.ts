import type { Clock } from '../model/clock.ts';
import { type Config, DEFAULT_CONFIG } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { projectConfigPath, userConfigPath } from '../model/home.ts';
import { modifiedAt } from '../sys/directory.ts';
import { loadConfig } from './config.ts';
import type { Deps } from './deps.ts';

/** A changed config file is noticed after this long at the latest; every running turn asks at every poll. */
const CONFIG_MS = 250;

export interface ConfigCache {
  for: Deps['config_for'];
  /** The next question looks at the files again, however soon it comes. */
  expire(): void;
}

/**
 * Settings per repository, read again when a file changed. A file that is broken keeps the last good settings,
 * or lets those of the user or the defaults stand in: work that was accepted goes on, one repository's file is no other's
 * trouble, and whoever slings next is told.
 */
export function cachedConfig(options: {
  clock: Clock;
  env: Record<string, string | undefined>;
  log: (line: string) => void;
}): ConfigCache {
  const { clock, env, log } = options;
  const cache = new Map<string, { stamp: string; config: Config; looked_at: number }>();
  const expire = () => {
    for (const known of cache.values()) known.looked_at = Number.NEGATIVE_INFINITY;
  };
  const of: Deps['config_for'] = async (repo_root) => {
    const known = cache.get(repo_root);
    const looked_at = clock.monotonic();
    if (known !== undefined && looked_at - known.looked_at < CONFIG_MS) return known.config;
    const stamp = [userConfigPath(env), projectConfigPath(repo_root)].map(modifiedAt).join(':');
    if (known?.stamp === stamp) {
      known.looked_at = looked_at;
      return known.config;
    }
    try {
      const config = await loadConfig(env, repo_root);
      cache.set(repo_root, { stamp, config, looked_at });
      return config;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const config = known?.config ?? (await ofUser(env));
      log(`config: ${error.message} (${known ? 'keeping the settings from before' : 'going on without it'})`);
      cache.set(repo_root, { stamp, config, looked_at });
      return config;
    }
  };
  return { for: of, expire };
}

async function ofUser(env: Record<string, string | undefined>): Promise<Config> {
  try {
    return await loadConfig(env, null);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return DEFAULT_CONFIG;
  }
}
