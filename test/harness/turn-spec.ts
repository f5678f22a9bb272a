import type { TurnSpec } from '../../src/model/harness.ts';
import type { HarnessRunner, Profile } from '../../src/model/profile.ts';

/** A profile that says nothing, with some fields set. */
export function profileOf(fields: Partial<Profile> = {}): Profile {
  return {
    profile_name: 'reviewer',
    agent: null,
    model: null,
    allowed_tools: [],
    disallowed_tools: [],
    permission_mode: null,
    add_dirs: [],
    max_budget_usd: null,
    token_budget: null,
    append_system_prompt: null,
    pool: null,
    ...fields,
  };
}

/** First turn of `sess-1234` in a plain directory, with some fields set. */
export function turnOf(fields: Partial<TurnSpec> = {}): TurnSpec {
  return {
    session_id: 'sess-1234',
    session_name: 'reviewer-1',
    turn: 1,
    prompt: 'review this change',
    prompt_path: '/home/u/turn/prompt.md',
    turn_dir: '/home/u/turn',
    cwd: '/srv/repo',
    git_dir: null,
    git_common_dir: null,
    profile: null,
    tools: [],
    model: null,
    native_session_id: null,
    max_turns: null,
    mcp: null,
    home: '/home/u',
    ...fields,
  };
}

/** A runner that sets nothing but its program. */
export function runnerOf(fields: Partial<HarnessRunner> = {}): HarnessRunner {
  return {
    program: 'cursor-agent',
    base_args: [],
    project_markers: [],
    cwd_flag: null,
    session_name_flag: null,
    task_flag: null,
    model_flag: null,
    add_dir_flag: null,
    include_directories_flag: null,
    allowed_tools_flag: null,
    disallowed_tools_flag: null,
    permission_mode_flag: null,
    max_budget_usd_flag: null,
    append_system_prompt_flag: null,
    inline_system_prompt_for_task: null,
    resume_flag: null,
    event_format: 'text',
    stdin_prompt: false,
    env: {},
    env_allow: [],
    ...fields,
  };
}

export const MCP = { name: 'drover', command: '/opt/drover', args: ['mcp'], env: { DROVER_TOKEN: 's3cret' } };

/** The value that follows each occurrence of a flag. */
export function valuesOf(args: string[], flag: string): string[] {
  return args.flatMap((arg, index) => (arg === flag ? [args[index + 1] ?? ''] : []));
}
