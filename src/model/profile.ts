/**
 * Launch settings of a session (E-021), resolved (inheritance applied) and stored with it as a snapshot, so that a
 * later edit of the config does not change a session that exists (E-023).
 */
export interface Profile {
  profile_name: string;
  agent: string | null;
  model: string | null;
  allowed_tools: string[];
  disallowed_tools: string[];
  permission_mode: string | null;
  add_dirs: string[];
  /** US dollars, as the harness flags take it. */
  max_budget_usd: number | null;
  token_budget: number | null;
  append_system_prompt: string | null;
  /** The credential whose limits its sessions share; none: one pool per harness. */
  pool: string | null;
}

/** A harness that the config adds or overrides (E-033). Keys are the config's own. */
export interface HarnessRunner {
  program: string;
  base_args: string[];
  project_markers: string[];
  cwd_flag: string | null;
  session_name_flag: string | null;
  task_flag: string | null;
  model_flag: string | null;
  add_dir_flag: string | null;
  include_directories_flag: string | null;
  allowed_tools_flag: string | null;
  disallowed_tools_flag: string | null;
  permission_mode_flag: string | null;
  max_budget_usd_flag: string | null;
  append_system_prompt_flag: string | null;
  /** Unset: true only when no `append_system_prompt_flag` is configured (CX-33). */
  inline_system_prompt_for_task: boolean | null;
  resume_flag: string | null;
  /** How its standard output is read; `text` makes every line a text event and exit 0 the result. */
  event_format: 'claude-stream-json' | 'codex-json' | 'gemini-stream-json' | 'opencode-json' | 'ndjson' | 'text';
  /** True: the prompt is standard input. False: the argument after `task_flag`, guarded against a leading `-`. */
  stdin_prompt: boolean;
  env: Record<string, string>;
  env_allow: string[];
}
