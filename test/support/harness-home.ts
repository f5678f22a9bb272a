import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheRoot, HARNESS_IDS, type HarnessId } from './harness-install.ts';

/** A user's home in which the real CLIs know one provider only: the scripted model on loopback. */
export interface HarnessHome {
  /** Absolute, real path; its parents are not writable by others, which some CLIs insist on. */
  home: string;
  /** The whole environment for `env -i`; nothing of the caller's environment is in it but directories of PATH. */
  env: Record<string, string>;
  remove(): void;
}

/** Model names that the settings below know; others are refused by opencode and lead gemini to ask a router. */
export const HARNESS_MODELS: Record<HarnessId, string> = {
  claude: 'claude-sonnet-5',
  codex: 'mock-model',
  gemini: 'gemini-2.5-flash',
  opencode: 'mock/mock-model',
};

const DUMMY_KEY = 'sk-dummy';

/**
 * Makes a scratch home below `<cache>/drover-test-homes/` and writes the user settings of the given CLIs (default:
 * all). The caller removes it. `bin_dir` comes first on PATH.
 */
export function makeHarnessHome(
  model_url: string,
  bin_dir: string,
  harnesses: readonly HarnessId[] = HARNESS_IDS,
): HarnessHome {
  if (new URL(model_url).hostname !== '127.0.0.1') throw new Error(`not a loopback model: ${model_url}`);
  const root = join(cacheRoot(), 'drover-test-homes');
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const home = realpathSync(mkdtempSync(join(root, 'home-')));
  const env = baseEnv(home, bin_dir);
  for (const id of harnesses) {
    const settings = SETTINGS[id];
    for (const [name, content] of Object.entries(settings.files(model_url))) {
      const path = join(home, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content, { mode: 0o600 });
    }
    Object.assign(env, settings.env(model_url));
  }
  return { home, env, remove: () => rmSync(home, { recursive: true, force: true }) };
}

function baseEnv(home: string, bin_dir: string): Record<string, string> {
  const tmp = join(home, 'tmp');
  mkdirSync(tmp, { mode: 0o700 });
  const node = Bun.which('node');
  const path = [bin_dir, ...(node ? [dirname(node)] : []), '/usr/local/bin', '/usr/bin', '/bin'];
  return { PATH: [...new Set(path)].join(':'), HOME: home, TERM: 'dumb', LANG: 'C.UTF-8', TMPDIR: tmp };
}

interface Settings {
  /** Path below the home → content. */
  files(url: string): Record<string, string>;
  env(url: string): Record<string, string>;
}

const SETTINGS: Record<HarnessId, Settings> = {
  claude: {
    files: () => ({}),
    env: (url) => ({
      ANTHROPIC_API_KEY: DUMMY_KEY,
      ANTHROPIC_BASE_URL: url,
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      DISABLE_TELEMETRY: '1',
      DISABLE_AUTOUPDATER: '1',
      DISABLE_ERROR_REPORTING: '1',
      DISABLE_BUG_COMMAND: '1',
      // Without it root may not bypass permissions.
      IS_SANDBOX: '1',
    }),
  },
  codex: {
    // The directory must exist and not be below $TMPDIR, or the CLI refuses to create its helpers.
    files: (url) => ({ '.codex/config.toml': codexConfig(url) }),
    env: () => ({ OPENAI_API_KEY: DUMMY_KEY }),
  },
  gemini: {
    files: () => ({ '.gemini/settings.json': json(GEMINI_SETTINGS) }),
    env: (url) => ({
      GEMINI_API_KEY: DUMMY_KEY,
      GOOGLE_GEMINI_BASE_URL: url,
      // Otherwise the CLI starts itself a second time and signals reach the wrong process.
      GEMINI_CLI_NO_RELAUNCH: 'true',
      GEMINI_TELEMETRY_ENABLED: 'false',
    }),
  },
  opencode: {
    files: (url) => ({ '.config/opencode/opencode.json': json(opencodeConfig(url)) }),
    env: () => ({
      OPENCODE_DISABLE_AUTOUPDATE: '1',
      OPENCODE_DISABLE_MODELS_FETCH: '1',
      OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
      OPENCODE_DISABLE_DEFAULT_PLUGINS: '1',
    }),
  },
};

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function codexConfig(url: string): string {
  return `model = "${HARNESS_MODELS.codex}"
model_provider = "scripted"
check_for_update_on_startup = false

[model_providers.scripted]
name = "scripted"
base_url = "${url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"

[analytics]
enabled = false

# The curated plugin list is fetched from a public host.
[features]
plugins = false
`;
}

const GEMINI_SETTINGS = {
  security: { auth: { selectedType: 'gemini-api-key' } },
  general: { enableAutoUpdate: false },
  privacy: { usageStatisticsEnabled: false },
};

function opencodeConfig(url: string): unknown {
  const [provider = '', model = ''] = HARNESS_MODELS.opencode.split('/');
  return {
    autoupdate: false,
    share: 'disabled',
    model: HARNESS_MODELS.opencode,
    small_model: HARNESS_MODELS.opencode,
    provider: {
      [provider]: {
        npm: '@ai-sdk/openai-compatible',
        name: 'Scripted',
        options: { baseURL: `${url}/v1`, apiKey: DUMMY_KEY },
        models: {
          [model]: {
            name: 'Scripted model',
            limit: { context: 200_000, output: 8192 },
            tool_call: true,
            cost: { input: 3, output: 15 },
          },
        },
      },
    },
  };
}
