/**
 * What a test run must not inherit: the context of a live drover (O-46), credentials and endpoints of model providers
 * and forges, and settings that would make git, Node or Bun behave differently from machine to machine.
 */
const PREFIXES = [
  'DROVER_',
  ...['ANTHROPIC_', 'CLAUDE', 'OPENAI_', 'CODEX_', 'GEMINI_', 'GOOGLE_', 'CLOUDSDK_', 'VERTEX', 'OPENCODE'],
  ...['AWS_', 'AZURE_', 'BEDROCK_', 'MISTRAL_', 'GROQ_', 'OPENROUTER_', 'XAI_', 'DEEPSEEK_', 'HF_', 'CURSOR_'],
  ...['GITHUB_', 'GH_', 'GITLAB_', 'COPILOT_', 'GIT_', 'SSH_', 'XDG_'],
  ...['npm_lifecycle_', 'npm_package_', 'BUN_OPTIONS', 'BUN_CONFIG', 'BUN_INSTALL', 'BUN_INSPECT', 'BUN_BE_BUN'],
];
const NAMES = ['NODE_OPTIONS', 'NODE_PATH', 'INIT_CWD', 'NO_COLOR', 'FORCE_COLOR', 'BASH_ENV', 'ENV', 'CDPATH'];
const SECRET = /_(?:API_KEY|TOKEN|SECRET|SECRET_KEY|PASSWORD|ACCESS_KEY|ACCESS_KEY_ID|CREDENTIALS|BASE_URL)$/i;

/** Whether a variable of this name is taken from the environment of every test. */
export function isScrubbed(name: string): boolean {
  return NAMES.includes(name) || SECRET.test(name) || PREFIXES.some((prefix) => name.startsWith(prefix));
}

/**
 * The variables that replace them: a home and XDG directories of our own (a test never touches the user's, O-48), temp
 * files in one place that can be checked, and git without anybody's configuration.
 */
export function scratchVariables(scratch: string, cache: string): Record<string, string> {
  const home = `${scratch}/home`;
  const git = { NAME: 'Drover Test', EMAIL: 'test@drover.invalid' };
  return {
    HOME: home,
    TMPDIR: `${scratch}/t`,
    XDG_CONFIG_HOME: `${home}/.config`,
    XDG_STATE_HOME: `${home}/.local/state`,
    XDG_DATA_HOME: `${home}/.local/share`,
    // A cache is nobody's state, and the pinned agent CLIs in it are too big to fetch for every file.
    XDG_CACHE_HOME: cache,
    XDG_RUNTIME_DIR: `${scratch}/run`,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_CEILING_DIRECTORIES: `${scratch}:${scratch}/t`,
    GIT_AUTHOR_NAME: git.NAME,
    GIT_AUTHOR_EMAIL: git.EMAIL,
    GIT_COMMITTER_NAME: git.NAME,
    GIT_COMMITTER_EMAIL: git.EMAIL,
    LC_ALL: 'C.UTF-8',
  };
}
