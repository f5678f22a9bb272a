import type { Harness, HarnessCommand, TurnSpec } from '../model/harness.ts';
import { NO_TOOLS } from '../model/role.ts';
import { UNKNOWN_SESSION } from '../model/turn.ts';
import { checkedArgs, isToolless, option, sessionLabel } from './argv.ts';
import { type ExitRule, failure, judgeExit } from './exit.ts';
import { limitOf } from './limit.ts';
import { OPENCODE_EVENTS, parseOpencode } from './opencode-stream.ts';
import { projectTask } from './projection.ts';
import { framedPrompt } from './untrusted.ts';

const PROJECTION: Harness['projection'] = {
  model: true,
  add_dirs: false,
  allowed_tools: false,
  disallowed_tools: false,
  permission_mode: false,
  max_budget_usd: false,
  append_system_prompt: false,
};

/**
 * What OpenCode 1.18.33 takes from the checkout although project configuration is switched off: a second reader of
 * settings does not know that switch. It imports every file in these directories, and every module or package that
 * one of these files names as a plugin.
 */
const UNSAFE_PATHS = [
  ...['.opencode/plugin', '.opencode/plugins', '.opencode/opencode.json', '.opencode/opencode.jsonc'],
  ...['opencode.json', 'opencode.jsonc'],
];

/**
 * OpenCode (E-029): `opencode run`, the prompt on standard input (as an argument it would be sent in quotes), the
 * rest by a configuration in the environment that is laid over the user's own. The repository's is switched off.
 *
 * Unless the profile names a permission mode, the user's own permissions stand, except that directories outside the
 * working directory are denied instead of asked for: with nobody to ask, a question ends the whole run.
 */
export const opencode: Harness = {
  id: 'opencode',
  program: 'opencode',
  install_hint: 'npm install -g opencode-ai',
  bits: {
    resume: true,
    fork: true,
    steer: false,
    stdin_stream: false,
    mcp_per_run: true,
    cost_reported: true,
    limit_event: false,
    sandbox_flag: false,
    early_first_event: false,
    at_mentions: 'none',
  },
  env_allow: [
    ...['ANTHROPIC_API_KEY', 'OPENAI_API_KEY', 'OPENROUTER_API_KEY', 'GEMINI_API_KEY', 'GOOGLE_GENERATIVE_AI_API_KEY'],
    ...['GROQ_API_KEY', 'MISTRAL_API_KEY', 'DEEPSEEK_API_KEY', 'XAI_API_KEY', 'OPENCODE_API_KEY'],
    ...['OPENCODE_CONFIG', 'OPENCODE_CONFIG_DIR', 'OPENCODE_DISABLE_*'],
  ],
  project_markers: ['.opencode', 'opencode.json', 'opencode.jsonc'],
  projection: PROJECTION,
  unsafe_paths: UNSAFE_PATHS,
  task_text: (task, profile) => projectTask(task, profile, PROJECTION),
  command,
  parse: parseOpencode,
  at_exit: (exit) => judgeExit(exit, EXIT_RULES),
  version_args: ['--version'],
  known_events: OPENCODE_EVENTS,
};

function command(turn: TurnSpec): HarnessCommand {
  const args = [
    ...['run', '--dir', turn.cwd],
    ...option('--title', turn.native_session_id === null ? sessionLabel(turn.session_id) : null),
    ...option('--model', turn.model ?? turn.profile?.model),
    ...['--format', 'json', '--print-logs', '--log-level', 'ERROR'],
    ...option('--session', turn.native_session_id),
  ];
  return {
    program: opencode.program,
    args: checkedArgs(args),
    env: {
      OPENCODE_CONFIG_CONTENT: JSON.stringify(config(turn)),
      OPENCODE_DISABLE_PROJECT_CONFIG: '1',
      OPENCODE_DISABLE_AUTOUPDATE: '1',
    },
    stdin: framedPrompt(turn.prompt),
    files: {},
  };
}

function config(turn: TurnSpec): Record<string, unknown> {
  const { mcp, profile } = turn;
  const server = mcp && {
    type: 'local',
    command: [mcp.command, ...mcp.args],
    environment: mcp.env,
    enabled: true,
  };
  return {
    autoupdate: false,
    share: 'disabled',
    permission: permission(isToolless(turn) ? NO_TOOLS : (profile?.permission_mode ?? null)),
    ...(mcp === null ? {} : { mcp: { [mcp.name]: server } }),
  };
}

function permission(mode: string | null): Record<string, string> {
  switch (mode) {
    case null:
      return { external_directory: 'deny' };
    case 'bypassPermissions':
    case 'yolo':
      return { edit: 'allow', bash: 'allow', webfetch: 'allow', external_directory: 'allow' };
    case 'acceptEdits':
    case 'auto_edit':
      return { edit: 'allow', bash: 'deny', external_directory: 'deny' };
    default:
      return { edit: 'deny', bash: 'deny', external_directory: 'deny' };
  }
}

/** The log line of a model call that is tried again; the event stream is silent about it, for as long as it takes. */
const RETRIED = /message="stream error".*error\.error="([^"]*)"/;

const EXIT_RULES: ExitRule[] = [
  {
    when: /permission requested: .*auto-rejecting/i,
    any_end: true,
    events: (line) => [failure('refused: permission', line)],
  },
  { when: /session not found/i, events: (line) => [failure(UNKNOWN_SESSION, line)] },
  {
    when: RETRIED,
    any_end: true,
    events: (line) => {
      const limit = limitOf({ status: null, message: RETRIED.exec(line)?.[1] ?? line, final: false });
      return limit === null ? [] : [{ type: 'limit', limit }];
    },
  },
];
