import type { HarnessRunner, Profile } from './profile.ts';

/** Everything a person can set, defaults applied (CX-48). Durations are milliseconds. */
export interface Config {
  default_harness: string;
  default_profile: string | null;
  default_role: string;
  max_live_sessions: number;
  max_depth: number;
  max_children: number;
  worktree: { by_default: boolean; root: string | null; branch_prefix: string };
  turn: {
    max_attempts: number;
    backoff_ms: number;
    backoff_cap_ms: number;
    first_event_ms: number;
    /** For harnesses that say nothing before the model answers. */
    first_event_late_ms: number;
    between_events_ms: number;
    /** The same while a tool call is open: builds and test suites are silent for long. */
    tool_ms: number;
    after_result_ms: number;
    sigkill_delay_ms: number;
    max_line_bytes: number;
    max_log_bytes: number;
  };
  watchdog: { stale_ms: number; zombie_ms: number };
  profiles: Record<string, Profile>;
  harness_runners: Record<string, HarnessRunner>;
  /** Groups of session names that mail can be sent to, by name without `@`. */
  groups: Record<string, string[]>;
  /** Repositories (absolute paths of their main checkout) whose own plugins a harness may run. */
  trusted_repositories: string[];
}

export const DEFAULT_CONFIG: Config = {
  default_harness: 'auto',
  default_profile: null,
  default_role: 'solo',
  max_live_sessions: 8,
  max_depth: 3,
  max_children: 4,
  worktree: { by_default: false, root: null, branch_prefix: 'drover' },
  turn: {
    max_attempts: 3,
    backoff_ms: 10_000,
    backoff_cap_ms: 300_000,
    first_event_ms: 60_000,
    first_event_late_ms: 300_000,
    between_events_ms: 600_000,
    tool_ms: 3_600_000,
    after_result_ms: 10_000,
    sigkill_delay_ms: 2_000,
    max_line_bytes: 64 * 1024 * 1024,
    max_log_bytes: 1024 * 1024 * 1024,
  },
  watchdog: { stale_ms: 300_000, zombie_ms: 900_000 },
  profiles: {},
  harness_runners: {},
  groups: {},
  trusted_repositories: [],
};
