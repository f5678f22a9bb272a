/** How a CLI is led to a model on loopback and to nothing else: settings below a home of its own, variables, a model. */
export interface ScriptedHome {
  /** Path below the home → content. */
  files: Record<string, string>;
  env: Record<string, string>;
  /** Null: it calls none. */
  model: string | null;
}

/** No provider has ever given out this one. */
const DUMMY_KEY = 'sk-dummy';

/**
 * For the built-in harness `id` and the scripted model at `url` (loopback, no path). Null for a harness whose provider
 * settings drover does not know.
 */
export function scriptedHome(id: string, url: string): ScriptedHome | null {
  switch (id) {
    case 'claude':
      return { files: {}, env: claudeEnv(url), model: 'claude-sonnet-5' };
    case 'codex':
      return {
        files: { '.codex/config.toml': codexConfig(url) },
        env: { OPENAI_API_KEY: DUMMY_KEY },
        model: 'scripted',
      };
    case 'gemini':
      return {
        files: { '.gemini/settings.json': JSON.stringify(GEMINI_SETTINGS) },
        env: { GEMINI_API_KEY: DUMMY_KEY, GOOGLE_GEMINI_BASE_URL: url, GEMINI_TELEMETRY_ENABLED: 'false' },
        // The default model would first ask another one which model to ask.
        model: 'gemini-2.5-flash',
      };
    case 'opencode':
      return {
        files: { '.config/opencode/opencode.json': JSON.stringify(opencodeConfig(url)) },
        env: OPENCODE_ENV,
        model: 'scripted/scripted',
      };
    case 'rehearsal':
      return { files: {}, env: {}, model: null };
    default:
      return null;
  }
}

function claudeEnv(url: string): Record<string, string> {
  return {
    ANTHROPIC_API_KEY: DUMMY_KEY,
    ANTHROPIC_BASE_URL: url,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_ERROR_REPORTING: '1',
    DISABLE_BUG_COMMAND: '1',
  };
}

function codexConfig(url: string): string {
  return `model_provider = "scripted"
check_for_update_on_startup = false

[model_providers.scripted]
name = "scripted"
base_url = "${url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"

[analytics]
enabled = false

# The curated plugin list would be fetched from a public host.
[features]
plugins = false
`;
}

const GEMINI_SETTINGS = {
  security: { auth: { selectedType: 'gemini-api-key' } },
  general: { enableAutoUpdate: false },
  privacy: { usageStatisticsEnabled: false },
};

const OPENCODE_ENV = {
  OPENCODE_DISABLE_MODELS_FETCH: '1',
  OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
  OPENCODE_DISABLE_DEFAULT_PLUGINS: '1',
};

function opencodeConfig(url: string): unknown {
  const model = { name: 'Scripted', limit: { context: 200_000, output: 8192 }, tool_call: true };
  const options = { baseURL: `${url}/v1`, apiKey: DUMMY_KEY };
  const provider = { npm: '@ai-sdk/openai-compatible', name: 'Scripted', options, models: { scripted: model } };
  return {
    autoupdate: false,
    share: 'disabled',
    model: 'scripted/scripted',
    small_model: 'scripted/scripted',
    provider: { scripted: provider },
  };
}
