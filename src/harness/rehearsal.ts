import type { Harness, HarnessCommand, TurnSpec } from '../model/harness.ts';
import { checkedArgs, option } from './argv.ts';
import { parseEvent } from './event-guard.ts';
import { judgeExit } from './exit.ts';
import { framedPrompt } from './untrusted.ts';

/**
 * The built-in scripted harness: it calls no model and prints events as they are, so that plans, limits and failures
 * can be rehearsed without money (C-04). The prompt is its standard input; `--resume <id>` keeps its session id.
 */
export const rehearsal: Harness = {
  id: 'rehearsal',
  program: 'drover-rehearsal',
  install_hint: 'part of drover',
  bits: {
    resume: true,
    fork: false,
    steer: false,
    stdin_stream: false,
    mcp_per_run: false,
    cost_reported: true,
    limit_event: true,
    sandbox_flag: false,
    early_first_event: true,
    at_mentions: 'none',
  },
  env_allow: ['DROVER_REHEARSAL_SCRIPT'],
  project_markers: [],
  projection: {
    model: true,
    add_dirs: true,
    allowed_tools: true,
    disallowed_tools: true,
    permission_mode: true,
    max_budget_usd: true,
    append_system_prompt: true,
  },
  // Its steps are shell commands, and nobody but the repository said so.
  unsafe_paths: ['.drover/rehearsal.yaml'],
  task_text: (task) => task,
  command,
  parse: parseEvent,
  at_exit: (exit) => judgeExit(exit, []),
  version_args: ['--version'],
  known_events: [
    ...['session', 'text', 'reasoning', 'tool_use', 'tool_result', 'usage', 'cost', 'status', 'limit', 'result'],
    ...['error', 'custom'],
  ],
};

function command(turn: TurnSpec): HarnessCommand {
  return {
    program: rehearsal.program,
    args: checkedArgs(option('--resume', turn.native_session_id)),
    env: {},
    stdin: framedPrompt(turn.prompt),
    files: {},
  };
}
