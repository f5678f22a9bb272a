import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { type LaunchInput, type LaunchStep, launchReason, resolveTemplate } from '../model/template-launch.ts';
import { checkTemplateShape, type LaunchTemplate } from '../model/template-schema.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { refuseTemplate } from '../session/repository-choice.ts';
import { prepareSling } from '../session/sling.ts';
import type { TemplateFile } from '../session/template-files.ts';
import { insertCrew } from '../store/crew.ts';
import type { Sling } from '../store/new-session.ts';
import { slotCounts, slotQueue } from '../store/worktree.ts';
import type { LocatedIssue } from './read.ts';
import { readSource } from './source.ts';

export interface ReadTemplate {
  /** Null when there is any issue. */
  template: LaunchTemplate | null;
  /** Every one of the file, in its order. */
  issues: LocatedIssue[];
}

/** Text → template, or every mistake in it with line and column. Pure. */
export function readTemplate(text: string): ReadTemplate {
  const source = readSource(text);
  if (source.issues.length > 0)
    return { template: null, issues: source.issues.map((issue) => ({ ...issue, path: '' })) };
  const { template, issues } = checkTemplateShape(source.value);
  const located = issues.map(({ path, message, is_key }) => ({
    ...source.locate(path, is_key),
    path: path.join('.'),
    message,
  }));
  return { template, issues: located.sort((a, b) => a.line - b.line || a.column - b.column) };
}

/** Throws `template_invalid` (2) with every mistake in `data.issues`. */
export function templateOf({ file, text }: Pick<TemplateFile, 'file' | 'text'>): LaunchTemplate {
  const { template, issues } = readTemplate(text);
  if (template !== null) return template;
  const told = issues.map(({ line, column, message }) => `${file}:${line}:${column} ${message}`);
  throw new AppError('usage', 'template_invalid', `The template is not usable:\n${told.join('\n')}`, {
    hint: 'Correct these places; nothing was started.',
    preserved: 'nothing was stored',
    data: { file, issues },
  });
}

export interface LaunchRequest extends Pick<LaunchInput, 'cwd' | 'task' | 'variables'> {
  template: TemplateFile;
  source: SessionRow | null;
}

/** What became of a launch (E-070). */
export interface Launched {
  template_name: string;
  step_count: number;
  /** The source, else the session that was created first (E-077); null: there is neither. */
  anchor_session_id: string | null;
  created: { step_name: string; session_id: string; task: string }[];
  /** The step that ended the launch; the sessions before it keep running (E-078). */
  failed_step: { step_name: string; error: AppError } | null;
  /** Of the created: those for which there is no worktree yet. They wait in the queue (CX-55). */
  waiting_for_worktree: number;
}

/**
 * Starts the sessions of a template together. Everything that can be known before is checked before anything is stored
 * (CX-54); then all are stored at once.
 *
 * Throws `template_invalid`, `template_empty`, `template_unfilled` (2), `repository_untrusted` (3), what `prepareSling` throws with the step's name
 * in front, and `no_slots` (3).
 */
export async function launchTemplate(deps: Deps, caller: Caller, request: LaunchRequest): Promise<Launched> {
  const { source, template, ...input } = request;
  const steps = resolveTemplate(templateOf(template), { ...input, source, name: template.name });
  const config = await deps.config_for(deps.home);
  refuseTemplate(config, template, steps);
  const slings: Sling[] = [];
  for (const step of steps) slings.push(await prepared(deps, caller, step, request.cwd));
  const { created, refusal } = await insertCrew(deps.store, {
    template: template.name,
    members: steps.map((step, i) => ({
      sling: slings[i] as Sling,
      task: step.task,
      reason: launchReason(template.name, step),
    })),
    ...{ source, max_live_sessions: config.max_live_sessions, now: deps.clock.now() },
  });
  return {
    template_name: template.name,
    step_count: steps.length,
    anchor_session_id: source?.id ?? created[0]?.id ?? null,
    created: created.map(({ id, task }, i) => ({ step_name: steps[i]?.name ?? '', session_id: id, task })),
    failed_step: refusal === null ? null : { step_name: steps[created.length]?.name ?? '', error: refusal },
    waiting_for_worktree: await waitingFor(deps, created),
  };
}

async function prepared(deps: Deps, caller: Caller, step: LaunchStep, cwd: string): Promise<Sling> {
  const { task, agent, role, worktree, project, group, profile } = step;
  try {
    return await prepareSling(deps, caller, {
      ...{ task, cwd, project, group, harness: agent ?? undefined, role: role ?? undefined },
      profile: typeof profile === 'string' ? undefined : profile.name,
      no_profile: profile === 'none',
      worktree: worktree ?? undefined,
    });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw new AppError(error.kind, error.code, `${step.name}: ${error.message}`, {
      ...error.details,
      data: { ...error.details.data, failed_step: step.name },
    });
  }
}

/** How many of these sessions there is no slot for yet, those that asked before them served first. */
async function waitingFor(deps: Deps, created: readonly SessionRow[]): Promise<number> {
  const [first] = created.filter(({ branch }) => branch !== null);
  if (first === undefined) return 0;
  const ids = new Set(created.map(({ id }) => id));
  const { max_worktrees } = await deps.config_for(first.repo_root);
  const held = (await slotCounts(deps.store)).find(({ repo_root }) => repo_root === first.repo_root)?.held ?? 0;
  const queue = await slotQueue(deps.store, first.repo_root);
  return queue.slice(Math.max(0, max_worktrees - held)).filter(({ id }) => ids.has(id)).length;
}
