import type { Harness, HarnessCommand, HarnessEvent, TurnSpec } from '../model/harness.ts';
import { UNKNOWN_SESSION } from '../model/turn.ts';
import { checkedArgs, isToolless, listOption, option } from './argv.ts';
import { type Exit, type ExitRule, errorLine, errorLines, failure, judgeExit } from './exit.ts';
import { GEMINI_EVENTS, parseGemini } from './gemini-stream.ts';
import { limitOf } from './limit.ts';
import { projectTask } from './projection.ts';
import { framedPrompt } from './untrusted.ts';

const SETTINGS_FILE = 'gemini-settings.json';

const PROJECTION: Harness['projection'] = {
  model: true,
  add_dirs: true,
  allowed_tools: false,
  disallowed_tools: false,
  permission_mode: false,
  max_budget_usd: false,
  append_system_prompt: false,
};

/**
 * Gemini CLI (E-030, CX-32): the prompt on standard input and no `-p`, events as stream-json.
 *
 * Unless the profile names a permission mode the approval mode is `yolo`: without it the CLI takes the tools that
 * write, run commands or call MCP away from an unattended model. Writing outside the working directory is refused by
 * the CLI even then.
 *
 * `GEMINI_CLI_TRUST_WORKSPACE=false` is read while settings are loaded, so the repository's `.gemini/settings.json`
 * and `.env` do not count whatever the person trusts; `--skip-trust` is read later and lets the run start.
 *
 * MCP servers come only from settings files. drover writes one for the run, but the CLI reads it only when root owns
 * it and all directories above it are root's and not writable by others; elsewhere it says so on standard error and
 * goes on without. Hence `mcp_per_run` is false: agents must be told of the `drover` command.
 */
export const gemini: Harness = {
  id: 'gemini',
  program: 'gemini',
  install_hint: 'npm install -g @google/gemini-cli',
  bits: {
    resume: true,
    fork: false,
    steer: false,
    stdin_stream: false,
    mcp_per_run: false,
    cost_reported: false,
    limit_event: false,
    sandbox_flag: false,
    early_first_event: true,
    at_mentions: 'any',
  },
  env_allow: ['GEMINI_API_KEY', 'GEMINI_MODEL', 'GEMINI_CLI_HOME', 'GEMINI_TELEMETRY_ENABLED', 'GOOGLE_*'],
  project_markers: ['.gemini', 'GEMINI.md'],
  projection: PROJECTION,
  unsafe_paths: [],
  task_text: (task, profile) => projectTask(task, profile, PROJECTION),
  command,
  parse: parseGemini,
  at_exit: atExit,
  version_args: ['--version'],
  known_events: GEMINI_EVENTS,
};

function command(turn: TurnSpec): HarnessCommand {
  const { profile, mcp } = turn;
  const args = [
    ...option('-m', turn.model ?? profile?.model),
    ...listOption('--include-directories', profile?.add_dirs ?? []),
    ...['--output-format', 'stream-json', '--approval-mode', approvalMode(turn)],
    '--skip-trust',
    ...option('--resume', turn.native_session_id),
  ];
  return {
    program: gemini.program,
    args: checkedArgs(args),
    env: {
      GEMINI_CLI_NO_RELAUNCH: 'true',
      GEMINI_CLI_TRUST_WORKSPACE: 'false',
      ...(mcp === null ? {} : { GEMINI_CLI_SYSTEM_DEFAULTS_PATH: `${turn.turn_dir}/${SETTINGS_FILE}` }),
    },
    stdin: framedPrompt(turn.prompt),
    files: mcp === null ? {} : { [SETTINGS_FILE]: settings(mcp) },
  };
}

const APPROVAL_MODES = new Map([
  ['yolo', 'yolo'],
  ['bypassPermissions', 'yolo'],
  ['auto_edit', 'auto_edit'],
  ['acceptEdits', 'auto_edit'],
  ['plan', 'plan'],
]);

/** A word that Gemini has no mode for gets the strictest one; it is projected into the task as well. */
function approvalMode(turn: TurnSpec): string {
  if (isToolless(turn)) return 'default';
  const permission_mode = turn.profile?.permission_mode ?? null;
  return permission_mode === null ? 'yolo' : (APPROVAL_MODES.get(permission_mode) ?? 'default');
}

function settings(mcp: NonNullable<TurnSpec['mcp']>): string {
  const server = { command: mcp.command, args: mcp.args, env: mcp.env, trust: true };
  return `${JSON.stringify({ mcpServers: { [mcp.name]: server } }, null, 2)}\n`;
}

/**
 * Exit codes of the CLI: 41 authentication, 42 input or session, 52 settings, 53 turn limit, 55 untrusted directory;
 * others are an HTTP status modulo 256 (429 → 173, 500 → 244).
 */
function atExit(exit: Exit): HarnessEvent[] {
  const text = errorLine(errorLines(exit.stderr_tail));
  switch (exit.code) {
    case 41: {
      const limit = { kind: 'auth' as const, status: null, message: text, resets_at: null, retry_after_ms: null };
      return [{ type: 'limit', limit: { ...limit, final: true } }];
    }
    case 42: {
      const isResume = /resum|session/i.test(exit.stderr_tail);
      return [failure(isResume ? UNKNOWN_SESSION : 'bad_input', text)];
    }
    case 52:
      return [failure('bad_settings', text)];
    case 53:
      return [failure('max_turns', text)];
    case 55:
      return [failure('refused: untrusted_directory', text)];
    default:
      return atHttpExit(exit, text);
  }
}

/** What the stream is silent about: calls that are tried again, for as long as it takes. */
const EXIT_RULES: ExitRule[] = [
  {
    when: /^Attempt \d+ failed/,
    any_end: true,
    events: (line) => {
      const limit = limitOf({ status: null, message: line, final: false });
      return limit === null ? [] : [{ type: 'limit', limit }];
    },
  },
];

function atHttpExit(exit: Exit, text: string): HarnessEvent[] {
  const status = exit.code === null ? 0 : exit.code + 256;
  if (status < 400 || status > 511) return judgeExit(exit, EXIT_RULES);
  const limit = limitOf({ status, message: text, final: true });
  return limit === null ? [failure(`http ${status}`, text)] : [{ type: 'limit', limit }];
}
