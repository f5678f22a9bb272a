import { z } from 'zod';
import { scanHoles } from './plan-hole.ts';
import type { PlanIssue } from './plan-schema.ts';
import { similar } from './similar.ts';

/** One step of an orchestration template as it is written down; null: not said. Holes are still open. */
export interface TemplateStep extends Shared {
  name: string | null;
  task: string;
}

/** What a step takes from its template when it does not say it itself (E-072). */
interface Shared {
  /** The harness, or `auto`. */
  agent: string | null;
  profile: string | null;
  role: string | null;
  worktree: boolean | null;
  project: string | null;
  group: string | null;
}

/** Sessions that are started together, as they are written down. */
export interface LaunchTemplate extends Shared {
  description: string | null;
  steps: TemplateStep[];
}

/** More sessions than that are a plan. */
const MAX_STEPS = 1_000;

const text = z.string('must be a text').refine((each) => !each.includes('\0'), 'must not contain a NUL character');
const shared = {
  agent: text.optional(),
  harness: text.optional(),
  profile: text.optional(),
  role: text.optional(),
  worktree: z.boolean('must be true or false').optional(),
  project: text.optional(),
  group: text.optional(),
};
const oneAgent = ({ agent, harness }: { agent?: string | undefined; harness?: string | undefined }) =>
  agent === undefined || harness === undefined;
const TWICE = 'agent and harness are the same: write one of them';
const step = z
  .strictObject(
    { name: text.optional(), task: text.refine((each) => each.trim() !== '', 'a task must not be empty'), ...shared },
    'a step is a mapping with at least a task',
  )
  .refine(oneAgent, TWICE);
const file = z
  .strictObject(
    {
      description: text.optional(),
      ...shared,
      steps: z.array(step, 'steps must be a list').max(MAX_STEPS, `at most ${MAX_STEPS} steps`),
    },
    'a template is a mapping with steps',
  )
  .refine(oneAgent, TWICE);
const WORDS = { steps: Object.keys(step.shape), file: Object.keys(file.shape) };

/**
 * The content of a template's file, or every problem of it. A template without steps is one: what it lacks is said when
 * it is launched (E-072).
 */
export function checkTemplateShape(raw: unknown): { template: LaunchTemplate | null; issues: PlanIssue[] } {
  const parsed = file.safeParse(raw, { reportInput: true });
  if (!parsed.success) return { template: null, issues: parsed.error.issues.flatMap(told) };
  const { description = null, steps, ...rest } = parsed.data;
  const template = {
    description,
    ...sharedOf(rest),
    steps: steps.map(({ name = null, task, ...own }) => ({ name, task, ...sharedOf(own) })),
  };
  const issues = textsOf(template).flatMap(({ at, text: each }) =>
    problemsOf(each).map((message) => ({ path: at, message })),
  );
  return { template: issues.length === 0 ? template : null, issues };
}

type RawShared = { [K in keyof typeof shared]?: z.output<(typeof shared)[K]> };

function sharedOf({ agent, harness, profile, role, worktree, project, group }: RawShared): Shared {
  return {
    ...{ agent: agent ?? harness ?? null, profile: profile ?? null, role: role ?? null, worktree: worktree ?? null },
    ...{ project: project ?? null, group: group ?? null },
  };
}

/** Every text of a template in which a hole may stand, with its key path. */
export function textsOf({ steps, ...rest }: LaunchTemplate): { at: (string | number)[]; text: string }[] {
  const of = (fields: object, at: (string | number)[]) =>
    Object.entries(fields).flatMap(([key, value]) =>
      typeof value === 'string' ? [{ at: [...at, key], text: value }] : [],
    );
  return [...of(rest, []), ...steps.flatMap((each, i) => of(each, ['steps', i]))];
}

function problemsOf(value: string): string[] {
  const { parts, problems } = scanHoles(value);
  if (problems.length > 0) return problems;
  const strange = parts.filter((part) => typeof part !== 'string').filter(({ kind }) => kind !== 'variable');
  return strange.map(
    ({ key }) => `{{ ${key} }}: the sessions of a template start together, so its holes are variables`,
  );
}

function told(issue: z.core.$ZodIssue): PlanIssue[] {
  const path = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key));
  if (issue.code === 'unrecognized_keys') {
    const known = WORDS[path[0] === 'steps' ? 'steps' : 'file'];
    return issue.keys.map((key) => {
      const near = similar(key, known);
      const advice = near === null ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
      return {
        path: [...path, key],
        message: `unknown key ${JSON.stringify(key.slice(0, 80))}; ${advice}`,
        is_key: true,
      };
    });
  }
  const isMissing = issue.code === 'invalid_type' && issue.input === undefined && path.length > 0;
  return [
    isMissing ? { path: path.slice(0, -1), message: `${path.at(-1)} is missing` } : { path, message: issue.message },
  ];
}
