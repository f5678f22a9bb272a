import { z } from 'zod';
import { type Config, DEFAULT_CONFIG, HOOK_NAMES } from './config.ts';
import { parseDuration } from './duration.ts';
import { NAME } from './id.ts';
import { CONFLICT_STRATEGIES } from './incident.ts';
import type { HarnessRunner, Profile } from './profile.ts';
import { choiceOf, overruledKeys } from './repository-choice.ts';
import { becomesGit, isBelow } from './worktree-place.ts';

/** A problem in a config file, by key path; the caller adds file and line. */
export interface ConfigIssue {
  path: (string | number)[];
  message: string;
}

/** Who wrote the file: a repository must not be able to start programs or loosen permissions. */
export type ConfigScope = 'user' | 'project';

const name = z.string().regex(NAME, 'must be lowercase letters, digits, dots, dashes');
/** A longer wait is a slip of the pen, and instants beyond it would not fit a column. */
const MAX_DURATION_MS = 366 * 86_400_000;
const duration = z
  .union([
    z.number().int().nonnegative(),
    z
      .string()
      .regex(/^\d+(ms|s|m|h|d)$/, 'must be a number of milliseconds or like 30s, 10m, 2h')
      .transform(parseDuration),
  ])
  .refine((ms) => ms <= MAX_DURATION_MS, 'must not be longer than a year');
const count = z.number().int().positive();
const text = z.string().min(1);
const flag = text.nullable().default(null);

const profile = z.object({
  inherits: name.optional(),
  agent: text.optional(),
  model: text.optional(),
  allowed_tools: z.array(text).default([]),
  disallowed_tools: z.array(text).default([]),
  permission_mode: text.optional(),
  add_dirs: z.array(text).default([]),
  max_budget_usd: z.number().min(0.000001, 'must be at least 0.000001').optional(),
  token_budget: count.optional(),
  append_system_prompt: text.optional(),
  pool: name.optional(),
});
type RawProfile = z.infer<typeof profile>;

const runner = z.object({
  program: z.string(),
  base_args: z.array(z.string()).default([]),
  project_markers: z.array(text).default([]),
  cwd_flag: flag,
  session_name_flag: flag,
  task_flag: flag,
  model_flag: flag,
  add_dir_flag: flag,
  include_directories_flag: flag,
  allowed_tools_flag: flag,
  disallowed_tools_flag: flag,
  permission_mode_flag: flag,
  max_budget_usd_flag: flag,
  append_system_prompt_flag: flag,
  inline_system_prompt_for_task: z.boolean().nullable().default(null),
  resume_flag: flag,
  event_format: z
    .enum(['claude-stream-json', 'codex-json', 'gemini-stream-json', 'opencode-json', 'ndjson', 'text'])
    .default('text'),
  stdin_prompt: z.boolean().default(true),
  env: z.record(z.string(), z.string()).default({}),
  env_allow: z.array(text).default([]),
});

const hooks = z.object({ after_create: flag, before_run: flag, after_run: flag, before_remove: flag }).partial();
const worktree = z
  .object({
    by_default: z.boolean(),
    root: text,
    branch_prefix: text,
    path: text
      .refine(isBelow, 'must be a relative path with {id} in it, without ".."')
      .refine((path) => !path.split('/').some(becomesGit), 'must not lead into a directory .git'),
    retention_ms: duration,
    hooks,
    hook_timeout_ms: duration.refine((ms) => ms > 0, 'must not be zero'),
  })
  .partial();
const gate = z
  .object({
    commands: z.array(text),
    timeout_ms: duration.refine((ms) => ms > 0, 'must not be zero'),
    max_rounds: count,
  })
  .partial();
const merge = z.object({ pr_command: text.nullable(), require_completed: z.boolean(), batch: count }).partial();
const budget = z.object({ alert_percent: z.array(z.number().positive().max(100, 'must be 100 or less')) }).partial();
const usd = z.number().nonnegative();
const price = z.object({ input: usd, output: usd, cache_read: usd.optional(), cache_write: usd.optional() });
const computer_use = z
  .object({
    harness: text.nullable(),
    profile: name.nullable(),
    worktree: z.boolean(),
    project: text.nullable(),
    group: text.nullable(),
  })
  .partial();
const conflicts = z
  .object({ is_enabled: z.boolean(), strategy: z.enum(CONFLICT_STRATEGIES), notify_lead: z.boolean() })
  .partial();
const reservations = z.object({ require_token: z.boolean() }).partial();
const turn = z
  .object({
    max_attempts: count,
    backoff_ms: duration,
    backoff_cap_ms: duration,
    first_event_ms: duration,
    first_event_late_ms: duration,
    between_events_ms: duration,
    tool_ms: duration,
    after_result_ms: duration,
    sigkill_delay_ms: duration,
    max_line_bytes: count,
    max_log_bytes: count,
  })
  .partial();
const watchdog = z
  .object({
    is_enabled: z.boolean(),
    interval_ms: duration.refine((ms) => ms >= 100, 'must be 100 ms or more'),
    stale_ms: duration,
    zombie_ms: duration,
    nudge_interval_ms: duration,
    max_escalation_level: z.number().int().min(0).max(3),
    notify_parent_on_death: z.boolean(),
    rpc_timeout_ms: duration,
    loop_repeats: z.number().int().min(3),
    triage_harness: text.nullable(),
    triage_model: text.nullable(),
    triage_timeout_ms: duration,
    triage_per_tick: z.number().int().nonnegative(),
    triage_per_day: z.number().int().nonnegative(),
    patrol_harness: text.nullable(),
    patrol_every_ms: duration.refine((ms) => ms >= 1_000, 'must be one second or more'),
  })
  .partial();
const limits = z
  .object({
    memory_mb: count.nullable(),
    min_free_mb: z.number().int().nonnegative(),
    stagger_ms: duration,
    throttle_ms: duration.refine((ms) => ms > 0, 'must not be zero'),
    throttle_cap_ms: duration,
    usage_wait_ms: duration.refine((ms) => ms > 0, 'must not be zero'),
  })
  .partial();

const file = z.object({
  default_harness: text.optional(),
  default_profile: name.optional(),
  default_role: name.optional(),
  max_live_sessions: count.optional(),
  max_depth: count.optional(),
  max_children: count.optional(),
  max_worktrees: count.optional(),
  worktree: worktree.optional(),
  gate: gate.optional(),
  merge: merge.optional(),
  budget: budget.optional(),
  prices: z.record(text, price).optional(),
  computer_use: computer_use.optional(),
  conflicts: conflicts.optional(),
  reservations: reservations.optional(),
  turn: turn.optional(),
  watchdog: watchdog.optional(),
  limits: limits.optional(),
  profiles: z.record(name, profile).optional(),
  harness_runners: z.record(text, runner).optional(),
  groups: z.record(name, z.array(text)).optional(),
  trusted_repositories: z.array(text).optional(),
});
export type ConfigFile = z.infer<typeof file>;

/** Checks one file's content: every problem at once; unknown keys are warnings (E-174). */
export function checkConfig(
  raw: unknown,
  scope: ConfigScope,
): { file: ConfigFile | null; issues: ConfigIssue[]; warnings: ConfigIssue[] } {
  const parsed = file.safeParse(raw ?? {});
  const issues: ConfigIssue[] = parsed.success
    ? []
    : parsed.error.issues.map((issue) => ({
        path: issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key)),
        message: issue.message,
      }));
  if (scope === 'project') {
    const given = mapping(raw);
    for (const [key, message] of Object.entries(USER_ONLY)) if (key in given) issues.push({ path: [key], message });
    if (parsed.success) issues.push(...projectIssues(parsed.data));
  }
  return { file: parsed.success && issues.length === 0 ? parsed.data : null, issues, warnings: unknownKeys(raw) };
}

/** Keys that only the user's own file may have, and why. */
const USER_ONLY: Record<string, string> = {
  harness_runners: 'a repository may not name programs to run; move this to the user config',
  trusted_repositories: 'a repository may not trust itself; move this to the user config',
  budget: 'money is counted over all repositories; move this to the user config',
  prices: 'what a model costs is the same for all repositories; move this to the user config',
  limits: 'what the machine and the accounts bear is the same for all repositories; move this to the user config',
};

/** Keys of `watchdog` that are the same for all repositories, or cost model calls. */
const USER_ONLY_WATCHDOG = /^(is_enabled|interval_ms|rpc_timeout_ms|triage_|patrol_)/;

const LOOSE = /bypass|yolo|danger|auto$/i;

function projectIssues(data: ConfigFile): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  if (data.worktree?.root) {
    issues.push({
      path: ['worktree', 'root'],
      message: 'a repository may not choose a place outside itself; move this to the user config',
    });
  }
  for (const key of Object.keys(data.watchdog ?? {}).filter((key) => USER_ONLY_WATCHDOG.test(key))) {
    issues.push({
      path: ['watchdog', key],
      message: 'there is one watchdog for all repositories; move this to the user config',
    });
  }
  for (const [key, value] of Object.entries(data.profiles ?? {})) {
    if (value.permission_mode && LOOSE.test(value.permission_mode)) {
      issues.push({
        path: ['profiles', key, 'permission_mode'],
        message: 'a repository may not switch permissions off; move this profile to the user config',
      });
    }
    value.add_dirs.forEach((dir, i) => {
      if (dir.startsWith('/') || dir.startsWith('~') || dir.split('/').includes('..')) {
        issues.push({
          path: ['profiles', key, 'add_dirs', i],
          message: 'a repository may only add directories inside itself',
        });
      }
    });
  }
  return issues;
}

const SECTIONS = { worktree, gate, merge, budget, computer_use, conflicts, reservations, turn, watchdog, limits };

function unknownKeys(raw: unknown): ConfigIssue[] {
  const root = mapping(raw);
  const issues = strangers(root, file.shape, []);
  for (const [key, { shape }] of Object.entries(SECTIONS)) {
    issues.push(...strangers(mapping(root[key]), shape, [key]));
  }
  for (const [key, { shape }] of Object.entries({ profiles: profile, harness_runners: runner })) {
    for (const [each, value] of Object.entries(mapping(root[key])))
      issues.push(...strangers(mapping(value), shape, [key, each]));
  }
  return issues;
}

function mapping(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function strangers(value: Record<string, unknown>, known: object, path: string[]): ConfigIssue[] {
  return Object.keys(value)
    .filter((key) => !Object.hasOwn(known, key))
    .map((key) => ({ path: [...path, key], message: 'unknown key, ignored' }));
}

/**
 * Defaults, then the user's file, then the project's; profiles with inheritance resolved (E-022). A repository may lower
 * limits and not raise them, a profile of the user's own is not replaced by one of the same name, and programs that it
 * names (hooks, gates) count only when the user trusts it; `untrusted_keys` names them otherwise, `repository_choice` the rest.
 * Throws `Error` on an inheritance cycle, or when the project would get loose permissions by way of a user's profile.
 */
export function mergeConfig(
  user: ConfigFile | null,
  project: ConfigFile | null,
  repo_root: string | null = null,
): Config {
  const raw = { ...project?.profiles, ...user?.profiles };
  const merged = { ...DEFAULT_CONFIG };
  const isTrusted = repo_root !== null && (user?.trusted_repositories ?? []).includes(repo_root);
  for (const layer of [user, isTrusted || project === null ? project : bounded(user, project)]) {
    if (layer === null) continue;
    const { profiles: _p, harness_runners, groups, worktree, ...rest } = layer;
    const { gate, merge, budget, prices, computer_use, conflicts, reservations, turn, watchdog, limits, ...scalars } =
      rest;
    Object.assign(merged, overlay(merged, scalars as Partial<Config>));
    const { hooks, ...places } = worktree ?? {};
    const own = merged.worktree.hooks;
    merged.worktree = { ...overlay(merged.worktree, places), hooks: overlay(own, hooks) };
    merged.gate = { ...overlay(merged.gate, gate), commands: [...merged.gate.commands, ...(gate?.commands ?? [])] };
    merged.merge = overlay(merged.merge, merge);
    merged.budget = overlay(merged.budget, budget);
    merged.prices = { ...merged.prices, ...prices };
    merged.computer_use = overlay(merged.computer_use, computer_use);
    merged.conflicts = overlay(merged.conflicts, conflicts);
    // Who asks for tokens means it: the other file cannot take that back.
    merged.reservations = { require_token: merged.reservations.require_token || reservations?.require_token === true };
    merged.turn = overlay(merged.turn, turn);
    merged.watchdog = overlay(merged.watchdog, watchdog);
    merged.limits = overlay(merged.limits, limits);
    merged.groups = { ...merged.groups, ...groups };
    merged.harness_runners = {
      ...merged.harness_runners,
      ...(harness_runners as Record<string, HarnessRunner> | undefined),
    };
  }
  if (!isTrusted && project !== null) merged.untrusted_keys = programKeys(project);
  for (const key of LIMITS) merged[key] = Math.min(user?.[key] ?? DEFAULT_CONFIG[key], merged[key]);
  merged.profiles = Object.fromEntries(Object.keys(raw).map((key) => [key, resolveProfile(key, raw, [])]));
  checkProjectProfiles(merged, user, project);
  if (!isTrusted && project !== null && repo_root !== null)
    merged.repository_choice = choiceOf(repo_root, user, project, merged.profiles);
  return merged;
}

/** Where a file names programs that drover itself would run. */
function programKeys({ worktree, gate, merge }: ConfigFile): string[] {
  const named = HOOK_NAMES.filter((key) => worktree?.hooks?.[key] != null).map((key) => `worktree.hooks.${key}`);
  if ((gate?.commands ?? []).length > 0) named.push('gate.commands');
  return merge?.pr_command == null ? named : [...named, 'merge.pr_command'];
}

/** Of the file of a repository that is not trusted: no programs, and no default where the user has one. */
function bounded(user: ConfigFile | null, file: ConfigFile): ConfigFile {
  const own = Object.fromEntries(overruledKeys(user, file).map((key) => [key, undefined]));
  const merge = { ...file.merge, pr_command: undefined };
  return { ...file, ...own, worktree: { ...file.worktree, hooks: {} }, gate: { ...file.gate, commands: [] }, merge };
}

const LIMITS = ['max_live_sessions', 'max_worktrees', 'max_depth', 'max_children'] as const;

function checkProjectProfiles(merged: Config, user: ConfigFile | null, project: ConfigFile | null): void {
  const own = Object.keys(project?.profiles ?? {}).filter((key) => user?.profiles?.[key] === undefined);
  for (const key of [...own, project?.default_profile ?? '', project?.computer_use?.profile ?? '']) {
    const mode = merged.profiles[key]?.permission_mode;
    if (mode && LOOSE.test(mode))
      throw new Error(`a repository may not choose the permission mode ${mode} (profile ${key})`);
  }
}

/** `patch` over `base`; keys that are absent or undefined keep the base's value. */
function overlay<T extends object>(base: T, patch: { [K in keyof T]?: T[K] | undefined } | undefined): T {
  const given = Object.entries(patch ?? {}).filter(([, value]) => value !== undefined);
  return { ...base, ...Object.fromEntries(given) };
}

/**
 * Lists are merged without duplicates, prompts concatenated parent first, scalars overridden (E-022).
 * Throws `Error` for a cycle (`agent profile inheritance cycle: a -> b -> a`) or an unknown parent.
 */
export function resolveProfile(key: string, raw: Record<string, RawProfile>, path: string[]): Profile {
  if (path.includes(key)) throw new Error(`agent profile inheritance cycle: ${[...path, key].join(' -> ')}`);
  const own = raw[key];
  if (own === undefined) throw new Error(`profile ${path.at(-1)} inherits from ${key}, which does not exist`);
  const base = own.inherits === undefined ? null : resolveProfile(own.inherits, raw, [...path, key]);
  const union = (a: string[] | undefined, b: string[]) => [...new Set([...(a ?? []), ...b])];
  const prompts = [base?.append_system_prompt, own.append_system_prompt].filter(Boolean);
  return {
    profile_name: key,
    agent: own.agent ?? base?.agent ?? null,
    model: own.model ?? base?.model ?? null,
    allowed_tools: union(base?.allowed_tools, own.allowed_tools),
    disallowed_tools: union(base?.disallowed_tools, own.disallowed_tools),
    permission_mode: own.permission_mode ?? base?.permission_mode ?? null,
    add_dirs: union(base?.add_dirs, own.add_dirs),
    max_budget_usd: own.max_budget_usd ?? base?.max_budget_usd ?? null,
    token_budget: own.token_budget ?? base?.token_budget ?? null,
    append_system_prompt: prompts.length > 0 ? prompts.join('\n\n') : null,
    pool: own.pool ?? base?.pool ?? null,
  };
}
