/** Where everything of one DROVER_HOME lives (ARCHITECTURE §2). Pure path arithmetic. */
export const homePaths = {
  database: (home: string) => `${home}/drover.db`,
  /** SQLite's write-ahead log: where a commit is first. */
  databaseLog: (home: string) => `${home}/drover.db-wal`,
  gate: (home: string) => `${home}/run/write.lock`,
  run: (home: string) => `${home}/run`,
  lock: (home: string, name: 'supervisor' | 'watchdog') => `${home}/run/${name}.lock`,
  /** Left by `drover down`, until somebody wants a supervisor again. */
  down: (home: string) => `${home}/run/down`,
  socket: (home: string) => `${home}/run/supervisor.sock`,
  log: (home: string, name: 'supervisor' | 'watchdog') => `${home}/run/${name}.log`,
  backups: (home: string) => `${home}/backup`,
  /** One report per run, in every format. */
  reports: (home: string) => `${home}/reports`,
  /** Checkouts in which merged results are tried, one directory per target branch. */
  merges: (home: string) => `${home}/merge`,
  /** An empty directory for sessions that drover starts for itself: nothing of a repository is loaded there. */
  desk: (home: string, role: 'triage' | 'patrol') => `${home}/${role}`,
  /** Directories that become those of the next new sessions. */
  spares: (home: string) => `${home}/run/spare`,
  session: (home: string, id: string) => `${home}/sessions/${id}`,
  turn: (home: string, id: string, turn: number) => `${home}/sessions/${id}/turns/${turn}`,
};

/** `DROVER_HOME`, else `$XDG_STATE_HOME/drover`, else `~/.local/state/drover`. */
export function homeDir(env: Record<string, string | undefined>): string {
  if (env.DROVER_HOME) return env.DROVER_HOME;
  const state = env.XDG_STATE_HOME || `${env.HOME ?? ''}/.local/state`;
  return `${state}/drover`;
}

/** The user's config file: `$XDG_CONFIG_HOME/drover/config.yaml`. */
export function userConfigPath(env: Record<string, string | undefined>): string {
  return `${env.XDG_CONFIG_HOME || `${env.HOME ?? ''}/.config`}/drover/config.yaml`;
}

export function projectConfigPath(repo_root: string): string {
  return `${repo_root}/.drover/config.yaml`;
}
