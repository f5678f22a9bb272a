import { AppError } from '../model/error.ts';
import type { Launch } from '../model/forecast.ts';
import { newId } from '../model/id.ts';
import type { ExpandedStep, PlanSettings } from '../model/plan.ts';
import type { Deps } from '../session/deps.ts';
import { type Ground, type GroundDeps, groundOf, launcher, refuseLaunches } from '../session/ground.ts';
import { loadRole } from '../session/roles.ts';
import type { SlingLaunch } from '../session/sling.ts';
import type { PlanDraft } from '../store/plan.ts';
import { type LocatedIssue, readPlan } from './read.ts';

export interface PlanText {
  text: string;
  /** Where it was read from, for the messages; null: it has no name. */
  file: string | null;
  /** Absolute; where its sessions work. */
  cwd: string;
  /** Values of plain holes. */
  variables?: Record<string, string>;
}

/** What a text comes to in this place. Nothing was stored, nothing was started. */
export interface PlanFileCheck {
  /** Every mistake, in the order of the file. */
  issues: LocatedIssue[];
  /** Null when there are any. */
  plan: { settings: PlanSettings; steps: ExpandedStep[]; launches: ReadonlyMap<string, SlingLaunch> } | null;
  ground: Ground;
}

/**
 * Reads and checks a plan against the settings of a directory (C-12). Pure but for reading these; works without a store
 * and outside of repositories. Throws `config_invalid` (2), and `unknown_*` (2) for defaults of the settings.
 */
export async function checkPlanFile(deps: GroundDeps, input: Omit<PlanText, 'file'>): Promise<PlanFileCheck> {
  const ground = await groundOf(deps, input.cwd);
  const { plan, issues } = readPlan(input.text, input.variables ?? {}, {
    ...{ profiles: ground.profiles, harnesses: ground.harnesses, roles: ground.roles },
    can_open_pr: ground.config.merge.pr_command !== null,
    is_persistent: (role) => ground.roles.has(role) && loadRole(deps, role).is_persistent,
    default_role: ground.config.default_role,
  });
  if (plan === null) return { issues, plan: null, ground };
  const { steps: _steps, ...settings } = plan.file;
  const launch = launcher(deps, ground, input.cwd);
  const launches = new Map(
    plan.steps.filter(isStarted).map((step) => [step.id, launch(step)] satisfies [string, SlingLaunch]),
  );
  return { issues, plan: { settings, steps: plan.steps, launches }, ground };
}

/** A group of a matrix is its members; that of a list says how each of its items will be started. */
function isStarted({ kind, foreach }: ExpandedStep): boolean {
  return kind === 'task' || foreach !== null;
}

/** As the forecast wants it. */
export function launchFacts(launches: ReadonlyMap<string, SlingLaunch>): Map<string, Launch> {
  return new Map(
    [...launches].map(([id, { harness, profile, role, pool }]) => [
      id,
      { harness: harness.id, profile_name: profile?.profile_name ?? null, role: role.name, pool },
    ]),
  );
}

/**
 * A plan that can be stored, every step with its pool. Throws `plan_invalid` (2) with every mistake in `data.issues`
 * (`line`, `column`, `path`, `message`), `cwd_missing`, `not_a_repository` (2), `harness_not_installed`,
 * `repository_untrusted` (3), `config_invalid` (2).
 */
export async function draftPlan(deps: Deps, input: PlanText & { schedule_id?: string | null }): Promise<PlanDraft> {
  const { issues, plan, ground } = await checkPlanFile(deps, input);
  if (plan === null) throw planInvalid(input.file, issues);
  const { place, refusal, config } = ground;
  if (place === null) throw refusal ?? new Error('there is a reason why there is no place');
  refuseLaunches(deps, config, place, plan.launches.values());
  return {
    id: newId('plan'),
    settings: plan.settings,
    steps: poolsOf(plan.steps, plan.launches),
    repo_root: place.main_root,
    working_dir: place.cwd,
    file: input.file,
    schedule_id: input.schedule_id ?? null,
    now: deps.clock.now(),
  };
}

/** A group that starts nothing itself has the pool of its first member. */
function poolsOf(steps: readonly ExpandedStep[], launches: ReadonlyMap<string, SlingLaunch>): PlanDraft['steps'] {
  const first = new Map<string, string>();
  return steps.map((step) => {
    const pool = launches.get(step.id)?.pool ?? first.get(step.id);
    if (pool === undefined) throw new Error(`the step ${step.id} has neither a launch nor members before it`);
    if (step.group_id !== null && !first.has(step.group_id)) first.set(step.group_id, pool);
    return { step, pool };
  });
}

/** Lines of the message; all others are in its data. */
const ISSUES_TOLD = 50;

/** `FILE:LINE:COLUMN what is wrong`, a line each, at most `most` of them. */
export function planInvalid(file: string | null, issues: readonly LocatedIssue[], most = ISSUES_TOLD): AppError {
  const name = file ?? 'plan';
  const told = issues.slice(0, most).map(({ line, column, message }) => `${name}:${line}:${column} ${message}`);
  const more = issues.length > most ? [`and ${issues.length - most} more; drover plan check --json has all`] : [];
  const what = issues.length === 1 ? 'a mistake' : `${issues.length} mistakes`;
  return new AppError('usage', 'plan_invalid', `The plan has ${what}:\n${[...told, ...more].join('\n')}`, {
    hint: 'Correct these places; `drover plan check` looks again.',
    preserved: 'nothing was stored, nothing was started',
    data: { file, issues },
  });
}
