import type { Clock } from '../model/clock.ts';
import type { Config } from '../model/config.ts';
import type { Store } from '../store/store.ts';

/** What every use case needs, as a plain record (ARCHITECTURE §4). Tests pass another one. */
export interface Deps {
  clock: Clock;
  store: Store;
  /** Absolute DROVER_HOME. */
  home: string;
  /** Environment of this process; harnesses get an allow-listed part of it. */
  env: Record<string, string | undefined>;
  /** Where `agents/`, `templates/` and `bin/` are. */
  package_dir: string;
  /** User and project settings for work in one repository. Throws `config_invalid`. */
  config_for: (repo_root: string) => Promise<Config>;
}
