import type { Harness, HarnessCommand, TurnSpec } from '../model/harness.ts';
import { UNKNOWN_SESSION } from '../model/turn.ts';
import { checkedArgs, eachOption, isToolless, option } from './argv.ts';
import { CODEX_EVENTS, parseCodex } from './codex-stream.ts';
import { type ExitRule, failure, judgeExit } from './exit.ts';
import { projectTask } from './projection.ts';
import { framedPrompt } from './untrusted.ts';

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
 * Codex (E-028): `codex exec`, the prompt on standard input, options before `resume`.
 *
 * The sandbox is `workspace-write` unless the profile's permission mode names another one: `read-only`,
 * `danger-full-access` (also spelled `bypassPermissions`). Approval is always "never" in `exec`. The sandbox keeps
 * every `.git` read-only, so committing needs both the shared directory and the worktree's own one to be named.
 *
 * The project is declared untrusted for this run, so that its `.codex/` (MCP servers, hooks) is not loaded even where
 * the person trusts it in interactive use.
 */
export const codex: Harness = {
  id: 'codex',
  program: 'codex',
  install_hint: 'npm install -g @openai/codex',
  bits: {
    resume: true,
    fork: true,
    steer: false,
    stdin_stream: false,
    mcp_per_run: true,
    cost_reported: false,
    limit_event: false,
    sandbox_flag: true,
    early_first_event: true,
    at_mentions: 'none',
  },
  env_allow: ['OPENAI_*', 'CODEX_HOME', 'CODEX_API_KEY', 'AZURE_OPENAI_API_KEY'],
  project_markers: ['.codex'],
  projection: PROJECTION,
  unsafe_paths: [],
  task_text: (task, profile) => projectTask(task, profile, PROJECTION),
  command,
  parse: parseCodex,
  at_exit: (exit) => judgeExit(exit, EXIT_RULES),
  version_args: ['--version'],
  known_events: CODEX_EVENTS,
};

function command(turn: TurnSpec): HarnessCommand {
  const { profile, mcp } = turn;
  const args = [
    ...['exec', '--skip-git-repo-check', '--sandbox', sandbox(turn)],
    ...['--cd', turn.cwd, '--color', 'never'],
    ...option('--model', turn.model ?? profile?.model),
    ...eachOption('--add-dir', profile?.add_dirs ?? []),
    ...eachOption('--add-dir', gitDirs(turn)),
    '--json',
    ...configured('projects', untrusted(projectRoots(turn))),
    ...configured('check_for_update_on_startup', 'false'),
    ...(mcp === null ? [] : configured(`mcp_servers.${mcp.name}`, mcpServer(mcp))),
    ...(turn.native_session_id === null ? [] : ['resume', turn.native_session_id]),
    '-',
  ];
  return {
    program: codex.program,
    args: checkedArgs(args),
    // The MCP server takes the values from here by name: arguments can be read by every user of the machine.
    env: { ...mcp?.env },
    stdin: framedPrompt(turn.prompt),
    files: {},
  };
}

const SANDBOXES = new Map([
  ['read-only', 'read-only'],
  ['danger-full-access', 'danger-full-access'],
  ['bypassPermissions', 'danger-full-access'],
]);

/** It cannot be run without its shell: a role without tools gets one that changes nothing. */
function sandbox(turn: TurnSpec): string {
  if (isToolless(turn)) return 'read-only';
  return SANDBOXES.get(turn.profile?.permission_mode ?? '') ?? 'workspace-write';
}

function gitDirs(turn: TurnSpec): string[] {
  return [...new Set([turn.git_common_dir, turn.git_dir])].filter((dir) => dir !== null);
}

function configured(key: string, toml: string): string[] {
  return ['-c', `${key}=${toml}`];
}

/** Trust is looked up for the working directory and for the root of the main checkout. */
function projectRoots(turn: TurnSpec): string[] {
  const shared = turn.git_common_dir;
  return shared?.endsWith('/.git') ? [turn.cwd, shared.slice(0, -'/.git'.length)] : [turn.cwd];
}

function untrusted(paths: string[]): string {
  return `{${[...new Set(paths)].map((path) => `${tomlText(path)}={trust_level="untrusted"}`).join(',')}}`;
}

function mcpServer(mcp: NonNullable<TurnSpec['mcp']>): string {
  const fields = [
    `command=${tomlText(mcp.command)}`,
    `args=[${mcp.args.map(tomlText).join(',')}]`,
    `env_vars=[${Object.keys(mcp.env).map(tomlText).join(',')}]`,
    'default_tools_approval_mode="approve"',
  ];
  return `{${fields.join(',')}}`;
}

/** A TOML basic string: JSON's escapes are TOML's, except that TOML also wants DEL escaped. */
function tomlText(text: string): string {
  return JSON.stringify(text.toWellFormed()).replaceAll('\u007f', '\\u007f');
}

const REFUSED = /codex_core::tools::router: error=(.*(?:rejected|blocked).*)/;

const EXIT_RULES: ExitRule[] = [
  {
    when: /thread\/resume failed|no rollout found/i,
    events: (line) => [failure(UNKNOWN_SESSION, line)],
  },
  {
    // A call that the sandbox or a policy refused has no event of its own: only the model and this line know of it.
    when: REFUSED,
    any_end: true,
    events: (line) => [{ type: 'error', message: REFUSED.exec(line)?.[1] ?? line, fatal: false }],
  },
];
