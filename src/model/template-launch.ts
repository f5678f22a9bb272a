import { AppError } from './error.ts';
import { fillHoles, holesOf } from './plan-hole.ts';
import { groupLabel, projectLabel, type SessionRow } from './session.ts';
import { type LaunchTemplate, textsOf } from './template-schema.ts';

/** The session that a crew is launched from. */
export type LaunchSource = Pick<SessionRow, 'id' | 'task' | 'project' | 'task_group' | 'harness'>;

export interface LaunchInput {
  /** Of the template. */
  name: string;
  /** Absolute; where its sessions work. */
  cwd: string;
  /** What a person asks for. */
  task: string | null;
  source: LaunchSource | null;
  /** What a person says beyond that; it wins over everything. */
  variables: Readonly<Record<string, string>>;
}

/** One session to be started: everything is said, or left to the settings (null). */
export interface LaunchStep {
  name: string;
  task: string;
  agent: string | null;
  /** `none`: without any, also when the settings have one for all. */
  profile: { name: string } | 'none' | 'default';
  role: string | null;
  worktree: boolean | null;
  project: string;
  group: string;
}

/**
 * Values of a template's holes: what a person said, and where nothing was said what the source, the task and the place
 * come to (E-071).
 */
export function launchVariables({ cwd, task, source, variables }: Omit<LaunchInput, 'name'>): Map<string, string> {
  const wanted = task ?? source?.task ?? null;
  return new Map([
    ...(source === null
      ? []
      : [
          ['source_task', source.task] as const,
          ['source_project', source.project] as const,
          ['source_task_group', source.task_group] as const,
          ['source_agent', source.harness] as const,
        ]),
    ...(wanted === null ? [] : [['task', wanted] as const, ['task_group', groupLabel(wanted, undefined)] as const]),
    ['project', source?.project ?? projectLabel(cwd, undefined)],
    ['cwd', cwd],
    ...Object.entries(variables),
  ]);
}

/** The names a template asks for, in order. */
export function variablesOf(template: LaunchTemplate): string[] {
  return [...new Set(textsOf(template).flatMap(({ text }) => holesOf(text).map(({ key }) => key)))].sort();
}

/**
 * The sessions of a template, every hole filled, in their order (E-072, E-074, E-075). What is blank counts as not said.
 * Throws `template_empty`, and `template_unfilled` with every variable that has no value in `data.missing` (2).
 */
export function resolveTemplate(template: LaunchTemplate, input: LaunchInput): LaunchStep[] {
  if (template.steps.length === 0) {
    throw new AppError('usage', 'template_empty', `template ${input.name} has no steps`, {
      hint: 'Write at least one step with a task into its file.',
      preserved: 'nothing was stored',
    });
  }
  const values = launchVariables(input);
  const missing = variablesOf(template).filter((key) => !values.has(key));
  if (missing.length > 0) throw unfilled(input.name, missing);
  const fill = (text: string | null) => (text === null ? null : fillHoles(text, values).text.trim() || null);
  return template.steps.map((step, i) => ({
    name: fill(step.name) ?? `step ${i + 1}`,
    task: fillHoles(step.task, values).text,
    agent: fill(step.agent) ?? fill(template.agent),
    profile: profileOf(fill(step.profile) ?? fill(template.profile), fill(step.agent) ?? fill(template.agent)),
    role: fill(step.role) ?? fill(template.role),
    worktree: step.worktree ?? template.worktree,
    project:
      fill(step.project) ?? fill(template.project) ?? input.source?.project ?? projectLabel(input.cwd, undefined),
    group: fill(step.group) ?? fill(template.group) ?? groupOf(input),
  }));
}

/** Who asks for a harness by name wants that one, and not what the settings put in front of it. */
function profileOf(name: string | null, agent: string | null): LaunchStep['profile'] {
  if (name !== null) return { name };
  return agent === null ? 'default' : 'none';
}

function groupOf({ name, task, source }: LaunchInput): string {
  if (source !== null) return source.task_group;
  return task === null ? name.replace(/[_-]/g, ' ') : groupLabel(task, undefined);
}

function unfilled(name: string, missing: readonly string[]): AppError {
  const flags = missing.map((key) => `--var ${key}=…`).join(' ');
  return new AppError('usage', 'template_unfilled', `template ${name} has no value for ${missing.join(', ')}`, {
    hint: missing.includes('task') ? `Give it a task, or add ${flags}` : `Add ${flags}`,
    preserved: 'nothing was stored',
    data: { missing },
  });
}

/** Why one session hands work to another, as a handoff says it (E-076). */
export function launchReason(template: string, step: Pick<LaunchStep, 'name'>): string {
  return `template ${template} | ${step.name}`;
}
