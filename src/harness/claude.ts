import type { Harness, HarnessCommand, TurnSpec } from '../model/harness.ts';
import type { Profile } from '../model/profile.ts';
import { UNKNOWN_SESSION } from '../model/turn.ts';
import { checkedArgs, eachOption, isToolless, listOption, option, sessionLabel } from './argv.ts';
import { CLAUDE_EVENTS, parseClaude } from './claude-stream.ts';
import { type ExitRule, failure, judgeExit } from './exit.ts';
import { framedPrompt } from './untrusted.ts';

const MCP_FILE = 'mcp.json';

/**
 * Claude Code (E-027, O-58, O-60): one process per turn, the prompt as one stream-json user turn on standard input.
 *
 * Unless the profile speaks, an unattended session gets `acceptEdits` and the tool `Bash`: in `-p` there is nobody to
 * ask, so whatever is not granted is denied; `acceptEdits` alone refuses `git commit` and every test run, and
 * `bypassPermissions` is refused to root and would also open files outside the working directory. A profile that
 * names tools or a permission mode is taken at its word.
 *
 * `--setting-sources user --strict-mcp-config`: settings, hooks, key helpers and MCP servers that the repository
 * brings are not loaded, the user's own are.
 */
export const claude: Harness = {
  id: 'claude',
  program: 'claude',
  install_hint: 'npm install -g @anthropic-ai/claude-code',
  bits: {
    resume: true,
    fork: true,
    steer: true,
    stdin_stream: true,
    mcp_per_run: true,
    cost_reported: true,
    limit_event: true,
    sandbox_flag: false,
    early_first_event: true,
    at_mentions: 'word_start',
  },
  env_allow: [
    'ANTHROPIC_*',
    'CLAUDE_CONFIG_DIR',
    'CLAUDE_CODE_OAUTH_TOKEN',
    'CLAUDE_CODE_USE_*',
    'CLAUDE_CODE_MAX_*',
    'CLAUDE_CODE_DISABLE_*',
    'CLAUDE_CODE_SUBPROCESS_ENV_SCRUB',
    'DISABLE_TELEMETRY',
    'DISABLE_ERROR_REPORTING',
    'API_TIMEOUT_MS',
    'MAX_THINKING_TOKENS',
    'IS_SANDBOX',
    'AWS_REGION',
    'AWS_PROFILE',
    'AWS_BEARER_TOKEN_BEDROCK',
    'CLOUD_ML_REGION',
    'GOOGLE_APPLICATION_CREDENTIALS',
  ],
  project_markers: ['.claude', 'CLAUDE.md'],
  projection: {
    model: true,
    add_dirs: true,
    allowed_tools: true,
    disallowed_tools: true,
    permission_mode: true,
    max_budget_usd: true,
    append_system_prompt: true,
  },
  unsafe_paths: [],
  task_text: (task) => task,
  command,
  parse: parseClaude,
  at_exit: (exit) => judgeExit(exit, EXIT_RULES),
  version_args: ['--version'],
  known_events: CLAUDE_EVENTS,
};

function command(turn: TurnSpec): HarnessCommand {
  const { profile, mcp } = turn;
  const args = [
    '--print',
    ...option('--name', sessionLabel(turn.session_id)),
    ...option('--model', turn.model ?? profile?.model),
    ...listOption('--allowed-tools', isToolless(turn) ? [] : allowedTools(profile, mcp?.name ?? null)),
    ...listOption('--disallowed-tools', profile?.disallowed_tools ?? []),
    ...option('--permission-mode', profile?.permission_mode ?? 'acceptEdits'),
    ...eachOption('--add-dir', profile?.add_dirs ?? []),
    ...option('--max-budget-usd', profile?.max_budget_usd),
    ...option('--append-system-prompt', profile?.append_system_prompt),
    ...(isToolless(turn) ? ['--tools', ''] : listOption('--tools', turn.tools)),
    ...option('--max-turns', turn.max_turns),
    ...option('--resume', turn.native_session_id),
    ...(mcp === null ? [] : ['--mcp-config', `${turn.turn_dir}/${MCP_FILE}`]),
    ...['--setting-sources', 'user', '--strict-mcp-config'],
    ...['--output-format', 'stream-json', '--verbose'],
  ];
  return {
    program: claude.program,
    args: checkedArgs(args),
    env: { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1' },
    // Plain text (docs/adr/0006): of a regular file below 64 KiB the CLI reads no stream-json at all (measured, 2.1.197).
    stdin: framedPrompt(turn.prompt),
    files: mcp === null ? {} : { [MCP_FILE]: mcpConfig(mcp) },
  };
}

/** The profile's own list, or the default of a session whose profile is silent; drover's MCP tools are always in. */
function allowedTools(profile: Profile | null, mcp_name: string | null): string[] {
  const isSilent = profile === null || (profile.allowed_tools.length === 0 && profile.permission_mode === null);
  const tools = isSilent ? ['Bash'] : profile.allowed_tools;
  return mcp_name === null ? tools : [...tools, `mcp__${mcp_name}`];
}

function mcpConfig(mcp: NonNullable<TurnSpec['mcp']>): string {
  const server = { type: 'stdio', command: mcp.command, args: mcp.args, env: mcp.env };
  return `${JSON.stringify({ mcpServers: { [mcp.name]: server } }, null, 2)}\n`;
}

const EXIT_RULES: ExitRule[] = [
  { when: /no conversation found/i, events: (line) => [failure(UNKNOWN_SESSION, line)] },
  { when: /root\/sudo privileges/i, events: (line) => [failure('refused: bypass_as_root', line)] },
  {
    when: /please run \/login|not logged in|invalid api key/i,
    events: (message) => [
      {
        type: 'limit',
        limit: { kind: 'auth', status: null, message, resets_at: null, retry_after_ms: null, final: true },
      },
    ],
  },
];
