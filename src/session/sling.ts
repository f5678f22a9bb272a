import { findRepository, resolveCommit } from '../git/repository.ts';
import { branchName } from '../git/worktree.ts';
import { findHarness, markerPaths, requestedHarness, resolveHarnessId } from '../harness/registry.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import type { Harness } from '../model/harness.ts';
import { NAME, newId } from '../model/id.ts';
import { OPERATOR, SYSTEM, TASK_LIMIT } from '../model/mail.ts';
import type { Allowance } from '../model/plan.ts';
import type { Profile } from '../model/profile.ts';
import type { Role } from '../model/role.ts';
import { groupLabel, nameFor, projectLabel, type SessionRow } from '../model/session.ts';
import { dollarsToMicros } from '../model/usage.ts';
import { insertSession, type Sling } from '../store/new-session.ts';
import { readRun } from '../store/run.ts';
import { findSession, getSession } from '../store/session.ts';
import { fileExists, isDirectory } from '../sys/directory.ts';
import { which } from '../sys/which.ts';
import type { Deps } from './deps.ts';
import { depthBelow } from './depth.ts';
import { refuseUntrustedHooks } from './hooks.ts';
import type { Caller } from './identity.ts';
import { demandHere } from './reach.ts';
import { refuseChoice } from './repository-choice.ts';
import { loadRole } from './roles.ts';
import { refuseUnsafe } from './safety.ts';

export interface SlingRequest {
  task: string;
  cwd: string;
  /** What `placeOf` said of `cwd` a moment ago: spares whoever starts many the same question. */
  place?: Place | undefined;
  harness?: string | undefined;
  role?: string | undefined;
  profile?: string | undefined;
  /** Without any profile, also when the settings have one for all (E-074). */
  no_profile?: boolean | undefined;
  model?: string | undefined;
  name?: string | undefined;
  parent?: string | undefined;
  base?: string | undefined;
  worktree?: boolean | undefined;
  run?: string | undefined;
  project?: string | undefined;
  group?: string | undefined;
  max_turns?: number | undefined;
  timeout_ms?: number | undefined;
  /** Commands that have to pass before it is completed; without them the repository's own. */
  gate?: readonly string[] | undefined;
  /** What it may spend; without it what its profile allows. */
  budget?: Allowance | undefined;
}

/**
 * Admits a task and stores its session, without starting anything (E-008, O-74, C-08). Throws what `prepareSling` throws,
 * and `name_taken`, `parent_ended`, `too_many_children` (3).
 */
export async function sling(deps: Deps, caller: Caller, request: SlingRequest): Promise<SessionRow> {
  return insertSession(deps.store, await prepareSling(deps, caller, request));
}

/**
 * Everything is checked before the one transaction that stores it, so that a refusal leaves nothing behind. Nothing is
 * stored here: a plan, a schedule or a request stores it with a record of its own.
 *
 * Throws: `task_empty`, `task_too_large`, `task_has_nul`, `name_invalid`, `unknown_harness`, `unknown_role`,
 * `unknown_profile`, `cwd_missing`, `not_a_repository`, `base_not_found` (2); `harness_not_installed`,
 * `repository_untrusted`, `out_of_reach`, `not_allowed`, `too_deep`, `run_not_own` (3); `session_not_found` (4).
 */
export async function prepareSling(deps: Deps, caller: Caller, request: SlingRequest): Promise<Sling> {
  checkTask(request.task);
  if (request.name !== undefined) checkName(request.name);
  const place = request.place ?? (await placeOf(request.cwd));
  demandHere(caller, place.main_root);
  const config = await deps.config_for(place.main_root);
  const parent = await parentOf(deps, caller, request.parent);
  const { role, profile, harness, pool } = launchOf(deps, config, place.root, {
    harness: request.harness ?? null,
    profile: request.profile ?? parent?.profile_name ?? null,
    no_profile: request.no_profile,
    role: request.role ?? null,
  });
  if (role.is_persistent && caller.session?.is_persistent === 0) throw persistentRole(caller, role);
  refuseLaunch(deps, config, place, harness);
  const depth = depthBelow(parent, config.max_depth);
  const wantsWorktree = request.worktree ?? (request.base !== undefined || config.worktree.by_default);
  if (!wantsWorktree && request.base !== undefined) throw baseWithoutWorktree(request.base);
  if (wantsWorktree) refuseUntrustedHooks(config, place.main_root);
  const base = wantsWorktree ? await baseOf(place.root, request.base) : null;
  const id = newId('agent');
  const name = request.name ?? nameFor(role.name, request.task);
  const task = request.task;
  return {
    draft: {
      id,
      name,
      role: role.name,
      harness: harness.id,
      task,
      project: projectLabel(place.main_root, request.project ?? parent?.project),
      task_group: groupLabel(task, request.group ?? parent?.task_group),
      profile_name: profile?.profile_name ?? null,
      profile_json: profile === null ? null : JSON.stringify(profile),
      model: request.model ?? null,
      repo_root: place.main_root,
      working_dir: place.cwd,
      branch: base === null ? null : branchName(config.worktree.branch_prefix, name, id.slice(-6)),
      base_ref: base,
      base_branch: base === null ? null : await targetOf(place, request.base),
      parent_id: parent?.id ?? null,
      depth,
      run_id: parent?.run_id ?? null,
      is_persistent: role.is_persistent ? 1 : 0,
      recovered_from: null,
      native_session_id: null,
      worktree_path: null,
      max_turns: request.max_turns ?? null,
      timeout_ms: request.timeout_ms ?? null,
      prompt_version: role.version,
      pool,
      gate_json: request.gate === undefined ? null : JSON.stringify(request.gate),
    },
    budget: request.budget ?? allowanceOf(profile),
    brief: {
      from_name: caller.name,
      from_id: caller.session?.id ?? null,
      type: 'task',
      priority: 'normal',
      subject: 'Your task',
      body: task,
      payload_json: null,
    },
    run: await runOf(deps, caller.session, request.run),
    is_name_chosen: request.name !== undefined,
    limits: { max_children: config.max_children },
    new_id: () => newId('agent'),
    now: deps.clock.now(),
  };
}

/** What a profile lets each of its sessions spend (E-124). */
function allowanceOf(profile: Profile | null): Allowance | null {
  const cost_micros = profile?.max_budget_usd == null ? null : dollarsToMicros(profile.max_budget_usd);
  const tokens = profile?.token_budget ?? null;
  return cost_micros === null && tokens === null ? null : { cost_micros, tokens };
}

/** With what a session is started. */
export interface SlingLaunch {
  harness: Harness;
  profile: Profile | null;
  role: Role;
  /** The credential whose limits it shares with others. */
  pool: string;
}

/**
 * What was asked for, completed by the settings and by what the checkout `root` is made for. It may not be installed.
 * Throws `unknown_harness`, `unknown_profile`, `unknown_role` (2), `repository_untrusted` (3).
 */
export function launchOf(
  deps: Pick<Deps, 'env' | 'package_dir'>,
  config: Config,
  root: string,
  wanted: { harness: string | null; profile: string | null; no_profile?: boolean | undefined; role: string | null },
): SlingLaunch {
  const role = loadRole(deps, wanted.role ?? config.default_role);
  const profile = wanted.no_profile ? null : pickProfile(config.profiles, wanted.profile ?? config.default_profile);
  refuseChoice(config, wanted, { profile, role });
  const harness = pickHarness(config, wanted.harness, profile, root);
  return { harness, profile, role, pool: profile?.pool ?? harness.id };
}

/** Throws `harness_not_installed`, `repository_untrusted` (3). */
export function refuseLaunch(
  deps: Pick<Deps, 'env' | 'package_dir'>,
  config: Config,
  place: Place,
  harness: Harness,
): void {
  if (which(harness.program, `${deps.env.PATH ?? ''}:${deps.package_dir}/bin`) === null)
    throw notInstalled(harness.id, harness.program, harness.install_hint);
  refuseUnsafe(harness, config, { dir: place.cwd, root: place.root, main_root: place.main_root });
}

function pickHarness(config: Config, requested: string | null, profile: Profile | null, root: string): Harness {
  const runners = config.harness_runners;
  const present = new Set(markerPaths(runners).filter((marker) => fileExists(`${root}/${marker}`)));
  const wanted = requestedHarness(requested ?? config.default_harness, profile);
  return findHarness(resolveHarnessId(wanted, present, runners), runners);
}

function usage(code: string, message: string, hint: string): AppError {
  return new AppError('usage', code, message, { hint, preserved: 'nothing was stored' });
}

/** A task is any text that can be stored and sent: not empty, no NUL, at most 1 MiB. */
function checkTask(task: string): void {
  if (task.trim() === '')
    throw usage('task_empty', 'The task is empty.', 'Give it as an argument, as @file, or on standard input with -.');
  if (task.includes('\0'))
    throw usage('task_has_nul', 'The task contains a NUL byte.', 'Is this a text file? Remove the NUL bytes.');
  const bytes = Buffer.byteLength(task);
  if (bytes > TASK_LIMIT) {
    throw usage(
      'task_too_large',
      `The task has ${bytes} bytes, the limit is ${TASK_LIMIT}.`,
      'Put the material into a file of the repository and name it in the task.',
    );
  }
}

/** Words that mean something else where a session can be named. */
const ADDRESSES = ['latest', OPERATOR, SYSTEM, 'parent', 'coordinator', 'orchestrator'];

/** Whether a session may be called so. */
export function usableName(name: string): boolean {
  return NAME.test(name) && !ADDRESSES.includes(name) && !name.startsWith('agent-');
}

function checkName(name: string): void {
  if (usableName(name)) return;
  throw usage(
    'name_invalid',
    `Not usable as a session name: ${JSON.stringify(name)}`,
    'Lowercase letters, digits, dots and dashes, at most 64; not starting with "agent-" and none of the words that address something else.',
  );
}

/** A directory of a repository, with the checkout and the repository that hold it. */
export interface Place {
  cwd: string;
  root: string;
  main_root: string;
  /** Null when HEAD is detached. */
  branch: string | null;
}

/** Throws `cwd_missing`, `not_a_repository` (2). */
export async function placeOf(cwd: string): Promise<Place> {
  if (!isDirectory(cwd))
    throw usage('cwd_missing', `No such directory: ${cwd}`, 'Name an existing directory with --cwd.');
  const repository = await findRepository(cwd);
  if (repository === null) {
    throw usage(
      'not_a_repository',
      `Not inside a git repository: ${cwd}`,
      'Work is kept by git: run `git init` there, or name a repository with --cwd.',
    );
  }
  if (repository.is_bare)
    throw usage('not_a_repository', `${cwd} is a bare repository.`, 'Sling from a checkout of it.');
  const { root, main_root, branch } = repository;
  return { cwd, root, main_root, branch };
}

async function baseOf(root: string, ref: string | undefined): Promise<string> {
  const commit = await resolveCommit(root, ref ?? 'HEAD');
  if (commit !== null) return commit;
  if (ref === undefined)
    throw usage(
      'no_head',
      'The repository has no commit to start a worktree from.',
      'Commit something first, or use --no-worktree.',
    );
  throw usage('base_not_found', `--base ${ref} is no commit of this repository.`, '`git log --oneline -5` shows some.');
}

function baseWithoutWorktree(ref: string): AppError {
  const message = `There is a base, ${ref}, and no worktree to start from it.`;
  return usage('base_without_worktree', message, 'Leave one of the two away: a base means a worktree of its own.');
}

/** The branch that `--base` names, else the one the person is on: where the work is meant to go. */
export async function targetOf({ root, branch }: Place, ref: string | undefined): Promise<string | null> {
  const named = ref !== undefined && (await resolveCommit(root, `refs/heads/${ref}`)) !== null;
  return named ? ref : branch;
}

async function parentOf(deps: Deps, caller: Caller, wanted: string | undefined): Promise<SessionRow | null> {
  if (caller.session !== null) return getSession(deps.store, caller.session.id);
  return wanted === undefined ? null : findSession(deps.store, wanted, null);
}

/**
 * What a session starts is counted in the run of that session, whose budget bounds both. The name of that run becomes its
 * id: somebody else may start one of the same name. Throws `run_not_own` (3).
 */
async function runOf(
  { store }: Deps,
  asking: SessionRow | null,
  wanted: string | undefined,
): Promise<string | undefined> {
  if (asking === null || wanted === undefined) return wanted;
  const { run_id } = asking;
  const own = run_id === null ? null : await store.read((tx) => readRun(tx, run_id));
  if (own !== null && (wanted === own.id || wanted === own.name)) return own.id;
  throw new AppError('refused', 'run_not_own', `A session may start others in no run but its own, not in ${wanted}.`, {
    hint: own === null ? 'Leave --run away: this session is in none.' : `Leave --run away: its own is ${own.name}.`,
    preserved: 'nothing was stored',
  });
}

function pickProfile(profiles: Record<string, Profile>, wanted: string | null): Profile | null {
  if (wanted === null) return null;
  const profile = Object.hasOwn(profiles, wanted) ? profiles[wanted] : undefined;
  if (profile !== undefined) return profile;
  const known = Object.keys(profiles).sort();
  throw usage(
    'unknown_profile',
    `There is no profile called ${wanted}.`,
    known.length > 0 ? `Known profiles: ${known.join(', ')}.` : 'No profiles are configured; see `drover init`.',
  );
}

function notInstalled(id: string, program: string, install: string): AppError {
  return new AppError('refused', 'harness_not_installed', `${id} is not installed: no ${program} on PATH.`, {
    hint: install,
    preserved: 'nothing was stored',
    recovery_commands: ['drover harness list'],
  });
}

/** Its rights go further than those of whoever would start it (docs/adr/0024). */
function persistentRole(caller: Caller, role: Role): AppError {
  return new AppError('refused', 'not_allowed', `${caller.name} may not start a ${role.name}, which lives on.`, {
    hint: 'Start a lead or a worker, or ask the operator by mail.',
    preserved: 'nothing was stored',
  });
}
