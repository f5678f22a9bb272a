import { AppError } from '../model/error.ts';
import { NAME, newId } from '../model/id.ts';
import { OPERATOR } from '../model/mail.ts';
import type { Occurrences, ScheduleRow } from '../model/schedule.ts';
import { nameFor, projectLabel } from '../model/session.ts';
import { wallAt } from '../model/window.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { prepareSling } from '../session/sling.ts';
import type { NewSchedule, Start } from '../store/schedule.ts';
import { parseCron } from './cron.ts';
import { draftPlan } from './draft.ts';

/** Whoever wrote the schedule down is not there when it fires. */
const PERSON: Caller = { name: OPERATOR, session: null };

/** What it starts: a task, or the text of a plan's file. */
export type ScheduleTarget = { task: string } | { plan_file: string; text: string; variables?: Record<string, string> };

export interface ScheduleRequest extends Pick<ScheduleRow, 'cron' | 'timezone' | 'overlap' | 'catch_up'> {
  cwd: string;
  target: ScheduleTarget;
  name?: string | undefined;
  harness?: string | undefined;
  profile?: string | undefined;
  role?: string | undefined;
  worktree?: boolean | undefined;
  project?: string | undefined;
  group?: string | undefined;
  catch_up_max: number;
}

/**
 * A schedule that can be stored: everything that would fail at its first due time and can be known now is said now, and
 * nothing is stored (E-055). Throws `cron_invalid`, `cron_without_future`, `zone_unknown`, `name_invalid` (2), and what
 * `prepareSling` and `draftPlan` throw.
 */
export async function draftSchedule(deps: Deps, request: ScheduleRequest): Promise<NewSchedule> {
  const { cron, timezone, overlap, catch_up, catch_up_max, cwd, target } = request;
  const now = deps.clock.now();
  const next_run_at = parseCron(cron, timezone, now).next(now);
  const place = 'task' in target ? await ofTask(deps, request, target.task) : await ofPlan(deps, request, target);
  const name = request.name ?? place.name;
  if (!NAME.test(name)) {
    throw new AppError('usage', 'name_invalid', `Not usable as a name: ${JSON.stringify(name)}`, {
      hint: 'Lowercase letters, digits, dots and dashes, at most 64; give one with --name.',
      preserved: 'nothing was stored',
    });
  }
  return {
    ...place,
    ...{ id: newId('schedule'), name, cron: cron.trim(), timezone, working_dir: cwd },
    ...{ overlap, catch_up, catch_up_max, next_run_at },
  };
}

type Place = Omit<NewSchedule, 'id' | 'cron' | 'timezone' | 'working_dir' | 'overlap' | 'catch_up' | 'catch_up_max'>;

async function ofTask(deps: Deps, request: ScheduleRequest, task: string): Promise<Omit<Place, 'next_run_at'>> {
  const { draft } = await prepareSling(deps, PERSON, {
    ...{ task, cwd: request.cwd, harness: request.harness, role: request.role, profile: request.profile },
    ...{ worktree: request.worktree, project: request.project, group: request.group },
  });
  const { harness } = request;
  return {
    ...{ name: nameFor(draft.role, task), task, plan_file: null, variables_json: null },
    // What is decided by looking at the repository is decided again each time.
    harness: harness === undefined || harness.trim().toLowerCase() === 'auto' ? (harness ?? null) : draft.harness,
    ...{ profile_name: request.profile ?? null, role: request.role ?? null },
    worktree: request.worktree === undefined ? null : Number(request.worktree),
    ...{ repo_root: draft.repo_root, project: draft.project, task_group: draft.task_group },
  };
}

async function ofPlan(
  deps: Deps,
  request: ScheduleRequest,
  { plan_file, text, variables = {} }: Extract<ScheduleTarget, { plan_file: string }>,
): Promise<Omit<Place, 'next_run_at'>> {
  const { settings, repo_root } = await draftPlan(deps, { text, file: plan_file, cwd: request.cwd, variables });
  return {
    ...{ name: settings.name, task: null, plan_file, harness: null },
    variables_json: Object.keys(variables).length === 0 ? null : JSON.stringify(variables),
    ...{ profile_name: null, role: null, worktree: null, repo_root },
    ...{ project: projectLabel(repo_root, request.project), task_group: request.group?.trim() || settings.name },
  };
}

/**
 * What a schedule starts, prepared but not stored. `read` gives the text of a file, or null when there is none. Throws
 * `plan_file_missing` (4) and what `prepareSling`, `draftPlan` and `read` throw.
 */
export async function startOf(
  deps: Deps,
  schedule: ScheduleRow,
  read: (path: string) => string | null,
): Promise<Start> {
  const { task, plan_file, variables_json, worktree } = schedule;
  if (plan_file !== null) {
    const text = read(plan_file);
    if (text === null) {
      throw new AppError('not_found', 'plan_file_missing', `There is no file ${plan_file} any more.`, {
        hint: 'Put it back, or remove the schedule.',
        preserved: 'nothing was started',
      });
    }
    const variables = JSON.parse(variables_json ?? '{}') as Record<string, string>;
    const place = { cwd: schedule.working_dir, schedule_id: schedule.id, variables };
    return { plan: await draftPlan(deps, { text, file: plan_file, ...place }) };
  }
  const session = await prepareSling(deps, PERSON, {
    ...{ task: task ?? '', cwd: schedule.working_dir, harness: schedule.harness ?? undefined },
    ...{ role: schedule.role ?? undefined, profile: schedule.profile_name ?? undefined },
    worktree: worktree === null ? undefined : worktree === 1,
    ...{ project: schedule.project, group: schedule.task_group },
  });
  return { session };
}

/**
 * The instants of a schedule as the loop needs them: one whose last time is due has no later one, which is no mistake.
 * Throws like `parseCron`.
 */
export function occurrencesOf({ cron, timezone, next_run_at }: ScheduleRow): Occurrences {
  return next_run_at === null ? { next: () => null } : parseCron(cron, timezone, next_run_at - 1);
}

/** Longest that a clock is put back or forward at once. */
const CHANGE_MS = 3 * 3_600_000;

/** What is odd about an instant of an expression on the day of a change of the clock; null: nothing. */
export function oddTime(cron: string, zone: string, at: number): string | null {
  const wall = wallAt(zone, at);
  // Where the clock is never changed the expression has exactly the times that it says.
  if (parseCron(cron, 'UTC', wall - 1).next(wall - 1) !== wall)
    return 'the clock is put forward over the time that was meant: it is due behind the gap';
  const offset = (when: number) => wallAt(zone, when) - Math.floor(when / 1_000) * 1_000;
  const back = offset(at) - offset(at + CHANGE_MS);
  if (back > 0 && wallAt(zone, at + back) === wall) return 'the clock is put back: this time comes twice';
  return null;
}
