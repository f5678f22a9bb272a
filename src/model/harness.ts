import type { Profile } from './profile.ts';
import type { Quota } from './quota.ts';
import type { TokenCounts, UsageMode } from './usage.ts';

/**
 * What a harness said, in one closed union for all of them (C-03). Adapters map every line to zero or more of these;
 * what they do not know becomes `custom`, and a malformed line is counted by the caller, never fatal.
 *
 * Texts are cut to `EVENT_TEXT_LIMIT` characters by the adapters: the raw line stays on disk. Only what a session says is
 * kept up to `ANSWER_LIMIT`, because the last of it is the answer, which is handed on.
 */
export type HarnessEvent =
  | { type: 'session'; native_session_id: string; model: string | null; version: string | null }
  /** `is_delta`: a piece that continues the text before it without a break. */
  | { type: 'text'; text: string; is_delta?: true }
  | { type: 'reasoning'; text: string }
  | { type: 'tool_use'; tool: string; tool_id: string | null; input: string; files: FileTouch[] }
  | { type: 'tool_result'; tool_id: string | null; is_error: boolean; output: string }
  | { type: 'usage'; mode: UsageMode; tokens: TokenCounts }
  | { type: 'cost'; mode: UsageMode; cost_micros: number }
  /** `quota`: what the provider said is left, before there is a limit. */
  | { type: 'status'; status: string; detail: string; quota?: Quota }
  | { type: 'limit'; limit: Limit }
  | { type: 'result'; ok: boolean; reason: string; text: string; model_turns: number | null; denials: string[] }
  | { type: 'error'; message: string; fatal: boolean }
  | { type: 'custom'; name: string };

export const EVENT_TEXT_LIMIT = 4096;

/** Characters of an answer that are kept. */
export const ANSWER_LIMIT = 256 * 1024;

const ANSWER_CUT = `\n[cut by drover: the answer is longer than ${ANSWER_LIMIT} characters]`;

/** An answer as it is kept: of one that is too long the start, and below it a line that says so. */
export function keptAnswer(text: string): string {
  if (text.length <= ANSWER_LIMIT) return text;
  const last = text.charCodeAt(ANSWER_LIMIT - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? ANSWER_LIMIT - 1 : ANSWER_LIMIT) + ANSWER_CUT;
}

/** Whether `keptAnswer` has left something out; no text that it has left whole looks so. */
export function isCutAnswer(text: string): boolean {
  return text.length > ANSWER_LIMIT && text.endsWith(ANSWER_CUT);
}

/** A file that a tool call says it touches (E-142). `path` is as the harness wrote it. */
export interface FileTouch {
  path: string;
  action: 'read' | 'create' | 'modify' | 'move' | 'delete' | 'touch';
}

/**
 * A provider said "not now" (or "not ever"). A fact for the guards, not an error by itself: harnesses retry.
 * `resets_at` is wall milliseconds; `retry_after_ms` a duration.
 */
export interface Limit {
  kind: 'usage_limit' | 'rate_limit' | 'overloaded' | 'auth' | 'quota_unknown' | 'network';
  status: number | null;
  message: string;
  resets_at: number | null;
  retry_after_ms: number | null;
  /** True when the harness has given up because of it; false while it still retries by itself. */
  final: boolean;
}

/** Capability bits; code asks these and never the harness's name. */
export interface HarnessBits {
  resume: boolean;
  fork: boolean;
  steer: boolean;
  stdin_stream: boolean;
  mcp_per_run: boolean;
  cost_reported: boolean;
  limit_event: boolean;
  sandbox_flag: boolean;
  /** Emits an event at start, before the model answers: then a short first-event timer is fair. */
  early_first_event: boolean;
  /** How far `@path` in a prompt makes the CLI read a file by itself: which `@` must be escaped. */
  at_mentions: 'none' | 'word_start' | 'any';
}

/** How drover's own MCP server is started by the harness. `env` holds the session's token. */
export interface McpServer {
  name: string;
  command: string;
  args: string[];
  env: Record<string, string>;
}

/** Everything an adapter may know of one turn. Pure data; all paths absolute. */
export interface TurnSpec {
  session_id: string;
  session_name: string;
  turn: number;
  /** The full prompt; adapters never put it into argv (ARCHITECTURE §6). */
  prompt: string;
  /** The file that holds the prompt; opened as standard input by default. */
  prompt_path: string;
  /** Where the adapter may ask for extra files (settings, MCP config). */
  turn_dir: string;
  cwd: string;
  /** What all worktrees of the repository share: a sandbox must let `git commit` write there. */
  git_common_dir: string | null;
  /** What the worktree at `cwd` has of its own (index, HEAD); a sandbox may protect it apart from the shared one. */
  git_dir: string | null;
  profile: Profile | null;
  /** The only built-in tools the model may have, by the role; empty: all of them; `none` alone: no tool, as far as the CLI can be told. */
  tools: string[];
  /** Overrides the profile's model. */
  model: string | null;
  /** Set from the second turn on. */
  native_session_id: string | null;
  max_turns: number | null;
  mcp: McpServer | null;
  /** The user's own home directory, from which user settings may be read by the CLI. */
  home: string;
}

/** What to start. `env` is added to the allow-listed environment and wins over it. */
export interface HarnessCommand {
  program: string;
  args: string[];
  env: Record<string, string>;
  /** Bytes for standard input when they are not the prompt as it is (e.g. a stream-json user turn). */
  stdin: string;
  /** Files to write below `turn_dir` before the start: relative name → content, mode 0600. */
  files: Record<string, string>;
}

/** What the rules for projecting a profile into the task text need to know (E-040). */
export interface ProjectionSupport {
  model: boolean;
  add_dirs: boolean;
  allowed_tools: boolean;
  disallowed_tools: boolean;
  permission_mode: boolean;
  max_budget_usd: boolean;
  append_system_prompt: boolean;
}

/** One agent CLI. Pure: it starts nothing, reads no file, no clock and no environment. */
export interface Harness {
  id: string;
  /** Executable to look for on PATH. */
  program: string;
  /** How a person installs it; part of the "not installed" error. */
  install_hint: string;
  bits: HarnessBits;
  /** Names, or prefixes ending in `*`, of environment variables that this harness may inherit. */
  env_allow: string[];
  /** Files or directories in a repository that mark it as made for this harness (E-005). */
  project_markers: string[];
  projection: ProjectionSupport;
  /** Places in a checkout whose content this CLI executes whatever its flags say: such a checkout must be trusted. */
  unsafe_paths: string[];
  /** Task text for turn one, with what has no flag projected into it (E-038…E-041). */
  task_text(task: string, profile: Profile | null): string;
  command(turn: TurnSpec): HarnessCommand;
  /** One complete line without its newline. Throws nothing; a line that is no JSON object gives `null` (malformed). */
  parse(line: string): HarnessEvent[] | null;
  /**
   * What the whole turn says beyond its lines: judges exit code and standard error once the process is gone
   * (e.g. gemini's exit 41 = auth; a resume id that does not exist). Returns events to append, usually none.
   */
  at_exit(exit: { code: number | null; signal: string | null; stderr_tail: string }): HarnessEvent[];
  /** Arguments that print the version. */
  version_args: string[];
  /** Event names (`type` or `type/subtype`) that the parser knows, for the contract check. */
  known_events: string[];
}
