import type { PackageManager } from './package-manager.ts';

/** Names, or prefixes ending in `*`, that every harness inherits: what a shell needs, no credential. */
export const BASE_ENV_ALLOW = [
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'LC_*', 'TERM', 'TZ', 'TMPDIR'],
  ...['XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_CACHE_HOME', 'XDG_RUNTIME_DIR'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'no_proxy', 'all_proxy'],
  ...['SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'],
  ...['GIT_AUTHOR_NAME', 'GIT_AUTHOR_EMAIL', 'GIT_COMMITTER_NAME', 'GIT_COMMITTER_EMAIL'],
];

/** Who a harness process works for. Ids are `null` when there is none; paths are absolute. */
export interface RuntimeFacts {
  session_id: string;
  harness: string;
  agent_name: string;
  working_dir: string;
  project_dir: string;
  run_id: string | null;
  task_id: string | null;
  /** The profile's model (E-044); a model given for one turn does not count. */
  profile_model: string | null;
  package_manager: PackageManager;
  /** The package root, which holds `agents/` and `templates/` (E-045). */
  plugin_root: string | null;
}

/** Variables every harness gets, under drover's prefix and as the CLAUDE_* set that tools look for (E-042…E-045). */
export function runtimeEnvironment(facts: RuntimeFacts): Record<string, string> {
  return given({
    DROVER_SESSION_ID: facts.session_id,
    DROVER_HARNESS: facts.harness,
    DROVER_WORKING_DIR: facts.working_dir,
    DROVER_PROJECT_DIR: facts.project_dir,
    DROVER_AGENT_NAME: facts.agent_name,
    DROVER_RUN_ID: facts.run_id,
    DROVER_TASK_ID: facts.task_id,
    DROVER_PLUGIN_ROOT: facts.plugin_root,
    CLAUDE_SESSION_ID: facts.session_id,
    CLAUDE_PROJECT_DIR: facts.project_dir,
    CLAUDE_CODE_ENTRYPOINT: 'cli',
    CLAUDE_PACKAGE_MANAGER: facts.package_manager,
    CLAUDE_CODE_PACKAGE_MANAGER: facts.package_manager,
    CLAUDE_MODEL: facts.profile_model,
    CLAUDE_PLUGIN_ROOT: facts.plugin_root,
  });
}

function given(values: Record<string, string | null>): Record<string, string> {
  const entries = Object.entries(values).filter((entry): entry is [string, string] => Boolean(entry[1]));
  return Object.fromEntries(entries);
}

/** Only what is allowed: names as they are, `PREFIX_*` for all that start so. Unset variables stay unset. */
export function allowEnvironment(all: Record<string, string | undefined>, allow: string[]): Record<string, string> {
  const names = new Set(allow);
  const prefixes = allow.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  const allowed: Record<string, string> = {};
  for (const [name, value] of Object.entries(all)) {
    if (value === undefined) continue;
    if (names.has(name) || prefixes.some((prefix) => name.startsWith(prefix))) allowed[name] = value;
  }
  return allowed;
}
