import type { PlanFile } from '../model/plan.ts';
import { type CheckedPlan, checkPlan, type Known } from '../model/plan-check.ts';
import { checkPlanShape, type PlanIssue } from '../model/plan-schema.ts';
import { readSource, type SourceIssue } from './source.ts';

/** A problem with its place, and the key path of what is wrong. */
export interface LocatedIssue extends SourceIssue {
  path: string;
}

export interface ReadPlan {
  /** Null when there is any issue. */
  plan: (CheckedPlan & { file: PlanFile }) | null;
  /** Every one of the file, in its order. */
  issues: LocatedIssue[];
}

/**
 * Text → plan, or every mistake in it with line and column. Pure: it looks at nothing but its arguments; `variables`
 * are the values of plain holes, `known` what the names of profiles, harnesses and roles may be.
 */
export function readPlan(text: string, variables: Readonly<Record<string, string>> = {}, known: Known = {}): ReadPlan {
  const source = readSource(text);
  const told = source.issues.map((issue): LocatedIssue => ({ ...issue, path: '' }));
  if (source.value === null && told.length > 0) return { plan: null, issues: told };
  const { file, issues } = checkPlanShape(source.value);
  const checked = file === null ? null : checkPlan(file, variables, known);
  // What the text has no value for is no wrong value as well.
  const places = new Set(told.map(placeOf));
  const meant = [...issues, ...(checked?.issues ?? [])]
    .map((issue) => located(whereFrom(issue, source.value), source.locate))
    .filter((issue) => !places.has(placeOf(issue)));
  const all = [...told, ...meant];
  // One mistake may be seen by two rules: a wrong id is wrong where it stands and in what was made of it.
  const unique = [...new Map(all.map((issue) => [`${placeOf(issue)}:${issue.message}`, issue])).values()];
  unique.sort((a, b) => a.line - b.line || a.column - b.column);
  return { plan: unique.length > 0 || file === null || checked === null ? null : { ...checked, file }, issues: unique };
}

function placeOf({ line, column }: SourceIssue): string {
  return `${line}:${column}`;
}

/** A value that a step has from the defaults is wrong there, once, and not at every step. */
function whereFrom(issue: PlanIssue, value: unknown): PlanIssue {
  const [steps, i, key, ...rest] = issue.path;
  if (!issue.is_shared || steps !== 'steps' || typeof i !== 'number' || typeof key !== 'string') return issue;
  const { steps: list, defaults } = value as { steps: object[]; defaults?: object | null };
  if (Object.hasOwn(list[i] ?? {}, key) || !Object.hasOwn(defaults ?? {}, key)) return issue;
  return { ...issue, path: ['defaults', key, ...rest] };
}

function located(
  issue: PlanIssue,
  locate: (path: PlanIssue['path'], is_key?: boolean) => { line: number; column: number },
): LocatedIssue {
  const path = issue.path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  );
  return { ...locate(issue.path, issue.is_key), path, message: issue.message };
}
