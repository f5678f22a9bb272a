import { dirname, resolve } from 'node:path';
import { homeDir, homePaths } from '../model/home.ts';
import type { Deps } from '../session/deps.ts';
import { openReader } from '../store/reader.ts';
import type { Store } from '../store/store.ts';
import { systemClock } from '../sys/clock.ts';
import { safe } from './output.ts';

export interface Globals {
  json: boolean;
  quiet: boolean;
  /** `--project DIR`: work as if started there (O-91, O-94). */
  project: string | null;
}

/** What a verb gets beside its own arguments. Nothing is opened before it is asked for. */
export interface Context {
  globals: Globals;
  env: Record<string, string | undefined>;
  home: string;
  cwd: string;
  package_dir: string;
  /** Opens (and creates) the store for writing. */
  deps: () => Promise<Deps>;
  /** For read verbs; null when nothing was ever stored. */
  reader: () => Promise<Store | null>;
  /** Root of the main repository of `cwd`, null outside of one. */
  repoRoot: () => Promise<string | null>;
  close: () => void;
}

/** The package's own root: where bin/, agents/ and templates/ are, also for a compiled binary beside them. */
function packageDir(): string {
  const source = resolve(import.meta.dir, '../..');
  return import.meta.dir.startsWith('/$bunfs') ? resolve(dirname(process.execPath), '..') : source;
}

export function createContext(globals: Globals): Context {
  const env = process.env;
  const home = resolve(homeDir(env));
  const cwd = resolve(globals.project ?? process.cwd());
  const package_dir = packageDir();
  const closers: (() => void)[] = [];
  return {
    globals,
    env,
    home,
    cwd,
    package_dir,
    deps: async () => {
      const [{ makeHome }, { openWriteGate }, { openStore }] = await Promise.all([
        import('../session/home.ts'),
        import('../sys/gate.ts'),
        import('../store/open.ts'),
      ]);
      makeHome(home);
      const gate = openWriteGate(homePaths.gate(home));
      const store = await openStore({ path: homePaths.database(home), durability: 'full', clock: systemClock, gate });
      closers.push(() => store.close(), gate.close);
      const warn = (text: string) => {
        if (!globals.quiet) console.error(`warning: ${safe(text)}`);
      };
      const config_for = async (root: string) => (await import('../session/config.ts')).loadConfig(env, root, warn);
      return { clock: systemClock, store, home, env, package_dir, config_for };
    },
    reader: async () => {
      const store = await openReader({
        path: homePaths.database(home),
        clock: systemClock,
        gate: { tryEnter: () => () => undefined },
      });
      if (store !== null) closers.push(() => store.close());
      return store;
    },
    repoRoot: async () => (await import('../git/common-dir.ts')).mainRootOf(cwd),
    close: () => {
      for (const close of closers.splice(0)) close();
    },
  };
}
