import type { ConflictStrategy } from './incident.ts';
import type { HarnessRunner, Profile } from './profile.ts';
import type { RepositoryChoice } from './repository-choice.ts';
import type { Price } from './usage.ts';

/** After create: fatal. Before run: fatal to the turn. After run, before remove: logged. */
export const HOOK_NAMES = ['after_create', 'before_run', 'after_run', 'before_remove'] as const;
export type HookName = (typeof HOOK_NAMES)[number];

/** Everything a person can set, defaults applied (CX-48). Durations are milliseconds. */
export interface Config {
  default_harness: string;
  default_profile: string | null;
  default_role: string;
  max_live_sessions: number;
  max_depth: number;
  max_children: number;
  /** Worktrees of one repository at the same time; sessions beyond wait for a slot. */
  max_worktrees: number;
  worktree: {
    by_default: boolean;
    root: string | null;
    branch_prefix: string;
    /** Below `root`; `{project}`, `{name}` and `{id}` are filled in. */
    path: string;
    /** Time since a session's end before `worktree clean` takes its worktree. */
    retention_ms: number;
    /** Shell commands of the person or of a trusted repository. */
    hooks: Record<HookName, string | null>;
    hook_timeout_ms: number;
  };
  /** Commands of the repository that have to pass before a merge. */
  gate: { commands: string[]; timeout_ms: number; max_rounds: number };
  merge: {
    /** Shell command that opens a pull request for the branch it finds in DROVER_BRANCH; none: such steps are refused. */
    pr_command: string | null;
    /** The queue takes only sessions that are completed; a merge by name takes any that has ended. */
    require_completed: boolean;
    /** Ready branches that are tried together. */
    batch: number;
  };
  budget: {
    /** Percent of a budget at which the operator is told, each once. */
    alert_percent: number[];
  };
  /** US dollars per million tokens, by the name of a model: for harnesses that report no cost. */
  prices: Record<string, Price>;
  /** What a request for computer use gets that does not say otherwise (E-062). */
  computer_use: {
    harness: string | null;
    profile: string | null;
    worktree: boolean;
    project: string | null;
    group: string | null;
  };
  conflicts: { is_enabled: boolean; strategy: ConflictStrategy; notify_lead: boolean };
  reservations: { require_token: boolean };
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
  watchdog: {
    /** The supervisor keeps a watchdog running beside it. */
    is_enabled: boolean;
    /** Between two looks. */
    interval_ms: number;
    stale_ms: number;
    zombie_ms: number;
    /** Between two steps of the ladder (O-69). */
    nudge_interval_ms: number;
    /** 0 note, 1 nudge, 2 triage, 3 terminate (O-27). */
    max_escalation_level: number;
    notify_parent_on_death: boolean;
    /** How long the supervisor may take to answer before it counts as hung (O-27). */
    rpc_timeout_ms: number;
    /** The same tool call with the same input and answer, so often in a row, is a loop. */
    loop_repeats: number;
    /** A harness for the second opinion of tier 1; none: the mechanical default decides. */
    triage_harness: string | null;
    triage_model: string | null;
    triage_timeout_ms: number;
    triage_per_tick: number;
    triage_per_day: number;
    /** A harness for the patrol agent of tier 2; none: no patrol. */
    patrol_harness: string | null;
    patrol_every_ms: number;
  };
  /** What the machine and the providers bear. */
  limits: {
    /** Resident memory of one turn's processes beyond which its session is parked; none: no cap. */
    memory_mb: number | null;
    /** No new turn starts while the disk of DROVER_HOME has less than this. */
    min_free_mb: number;
    /** Between two sessions that start again after their pool was blocked. */
    stagger_ms: number;
    /** First and longest wait of a pool after "not now" without a time (doubling, with jitter). */
    throttle_ms: number;
    throttle_cap_ms: number;
    /** Wait of a pool after a used-up plan whose reset time nobody told (doubling). */
    usage_wait_ms: number;
  };
  profiles: Record<string, Profile>;
  harness_runners: Record<string, HarnessRunner>;
  /** Groups of session names that mail can be sent to, by name without `@`. */
  groups: Record<string, string[]>;
  /** Repositories (absolute paths of their main checkout) whose own plugins a harness may run. */
  trusted_repositories: string[];
  /** Keys by which a repository that is not trusted names programs to run; what needs them is refused. */
  untrusted_keys?: readonly string[];
  /** What such a repository chose, within bounds; absent: no file of its own, or it is trusted. */
  repository_choice?: RepositoryChoice;
}

export const DEFAULT_CONFIG: Config = {
  default_harness: 'auto',
  default_profile: null,
  default_role: 'solo',
  max_live_sessions: 8,
  max_depth: 3,
  max_children: 4,
  max_worktrees: 6,
  worktree: {
    by_default: false,
    root: null,
    branch_prefix: 'drover',
    path: '{project}-{id}',
    retention_ms: 0,
    hooks: { after_create: null, before_run: null, after_run: null, before_remove: null },
    hook_timeout_ms: 60_000,
  },
  gate: { commands: [], timeout_ms: 1_800_000, max_rounds: 3 },
  merge: { pr_command: null, require_completed: true, batch: 8 },
  budget: { alert_percent: [50, 80, 100] },
  prices: {},
  computer_use: { harness: null, profile: null, worktree: false, project: null, group: null },
  conflicts: { is_enabled: true, strategy: 'escalate', notify_lead: true },
  reservations: { require_token: false },
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
  watchdog: {
    is_enabled: true,
    interval_ms: 30_000,
    stale_ms: 300_000,
    zombie_ms: 900_000,
    nudge_interval_ms: 60_000,
    max_escalation_level: 3,
    notify_parent_on_death: true,
    rpc_timeout_ms: 5_000,
    loop_repeats: 8,
    triage_harness: null,
    triage_model: null,
    triage_timeout_ms: 30_000,
    triage_per_tick: 3,
    triage_per_day: 50,
    patrol_harness: null,
    patrol_every_ms: 1_800_000,
  },
  limits: {
    memory_mb: null,
    min_free_mb: 200,
    stagger_ms: 2_000,
    throttle_ms: 15_000,
    throttle_cap_ms: 900_000,
    usage_wait_ms: 900_000,
  },
  profiles: {},
  harness_runners: {},
  groups: {},
  trusted_repositories: [],
};
