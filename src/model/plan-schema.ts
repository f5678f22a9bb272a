import { z } from 'zod';
import { parseDuration } from './duration.ts';
import { NAME } from './id.ts';
import { TASK_LIMIT } from './mail.ts';
import {
  AT_CLOSE,
  MERGE_MODES,
  ON_FAILURES,
  PLAN_LIMITS,
  type PlanFile,
  type PlanSettings,
  type PlanStep,
  WHENS,
} from './plan.ts';
import { RETRY_CAUSES } from './plan-step.ts';
import { similar } from './similar.ts';
import { dollarsToMicros } from './usage.ts';
import { isZone, timeOfDay } from './window.ts';

/** A problem in a plan's file, by key path; the reader adds line and column. */
export interface PlanIssue {
  path: (string | number)[];
  message: string;
  /** It is the key itself that is wrong, and not its value. */
  is_key?: boolean;
  /** The value is wrong whatever its step is like: what comes from the defaults is wrong there. */
  is_shared?: boolean;
}

const hasNul = (text: string) => text.includes('\0');
const line = (what: string) =>
  z
    .string(`${what} must be a text`)
    .min(1, `${what} must not be empty`)
    .refine((text) => !hasNul(text), `${what} must not contain a NUL character`)
    .refine((text) => !text.startsWith('-'), `${what} must not start with "-"`);
/** A name, or a text with holes of which a name comes out. */
const nameOrHole = line('a name').refine(
  (text) => NAME.test(text) || text.includes('{{'),
  'must be lowercase letters, digits, dots, dashes',
);
const name = z.string('must be a text').regex(NAME, 'must be lowercase letters, digits, dots, dashes, at most 64');
const word = z
  .string()
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?$/, 'must be letters, digits, dashes, underscores');
const count = (most: number) =>
  z
    .number('must be a number')
    .int('must be a whole number')
    .min(1, 'must be 1 or more')
    .max(most, `must be ${most} or less`);

const MAX_DURATION_MS = 366 * 86_400_000;
const duration = z
  .union([z.number(), z.string()], 'must be a number of milliseconds or like 30s, 10m, 2h')
  .refine(
    (raw) => Number.isInteger(parseDuration(String(raw))),
    'must be a number of milliseconds or like 30s, 10m, 2h',
  )
  .transform((raw) => parseDuration(String(raw)))
  .refine((ms) => ms > 0 && ms <= MAX_DURATION_MS, 'must be more than nothing and at most a year');
const usd = z
  .number('must be a number of US dollars')
  .positive('must be more than 0')
  .max(1_000_000, 'must be 1,000,000 or less')
  .transform(dollarsToMicros)
  .refine((micros) => micros >= 1, 'must be at least 0.000001');
const tokens = z
  .number('must be a number of tokens')
  .int('must be a whole number')
  .positive('must be more than 0')
  .max(1e15);
const budget = z
  .strictObject({ usd: usd.optional(), tokens: tokens.optional() }, 'must be a mapping with usd, tokens or both')
  .refine(({ usd, tokens }) => usd !== undefined || tokens !== undefined, 'must have usd, tokens or both')
  .transform(({ usd, tokens }) => ({ cost_micros: usd ?? null, tokens: tokens ?? null }));
const retry = z
  .strictObject(
    {
      max: z
        .number('must be a number')
        .int('must be a whole number')
        .min(0, 'must be 0 or more')
        .max(PLAN_LIMITS.retries),
      on: z
        .array(z.enum(RETRY_CAUSES, `must be one of ${RETRY_CAUSES.join(', ')}`))
        .min(1)
        .default([...RETRY_CAUSES]),
    },
    'must be a mapping with max and on',
  )
  .transform(({ max, on }) => ({ max, on: [...new Set(on)] }));
const command = line('a command').max(10_000);
const gate = z
  .union([command, z.array(command)], 'must be a command or a list of commands')
  .transform((raw) => (typeof raw === 'string' ? [raw] : raw))
  .describe(
    'Commands for /bin/sh. Holes: matrix.NAME, foreach.item, foreach.index and variables, each put in as one quoted word; so they stand outside of quotes. A value may begin with a dash.',
  );
const scalar = z.union([z.string(), z.number(), z.boolean()], 'must be a text, a number, or true or false');
const matrix = z
  .record(
    word,
    z
      .array(scalar, 'must be a list')
      .min(1, 'must have an entry')
      .max(PLAN_LIMITS.steps, `must have at most ${PLAN_LIMITS.steps} entries`),
    'must be a mapping of lists',
  )
  .refine((lists) => Object.keys(lists).length > 0, 'must have a list');
const foreach = z
  .union(
    [name, z.strictObject({ step: name, max: count(PLAN_LIMITS.foreach).default(50) })],
    `must be the id of a step, or a mapping with step and max (at most ${PLAN_LIMITS.foreach})`,
  )
  .transform((raw) => (typeof raw === 'string' ? { step: raw, max: 50 } : raw));
const path = line('a path')
  .max(1_000)
  .refine((text) => !text.startsWith('/') && !text.split('/').includes('..'), 'must be a path inside, without ".."');
const task = line('a task')
  .refine((text) => text.trim() !== '', 'a task must not be empty')
  .refine((text) => Buffer.byteLength(text) <= TASK_LIMIT, `a task must not be longer than ${TASK_LIMIT} bytes`);
const oneOf = <const T extends readonly string[]>(words: T) => z.enum(words, `must be one of ${words.join(', ')}`);

/** Keys of a step that `defaults` may have too. */
const SHARED = {
  harness: nameOrHole.optional(),
  profile: nameOrHole.optional(),
  role: nameOrHole.optional(),
  worktree: z.boolean('must be true or false').optional(),
  base: line('a base').max(1_000).optional(),
  gate: gate.optional(),
  retry: retry.optional(),
  timeout: duration.optional(),
  budget: budget.optional(),
  when: oneOf(WHENS).optional(),
  attempts: count(PLAN_LIMITS.attempts).optional(),
  merge: oneOf(MERGE_MODES).optional(),
};

const STEP = {
  id: name.optional(),
  task,
  needs: z
    .union([name, z.array(name)], 'must be the id of a step or a list of ids')
    .transform((raw) => (typeof raw === 'string' ? [raw] : raw))
    .optional(),
  ...SHARED,
  matrix: matrix.optional(),
  foreach: foreach.optional(),
  inputs: z
    .record(
      word,
      z.string('must be a text').refine((text) => !hasNul(text), 'must not contain a NUL character'),
      'must be a mapping',
    )
    .optional(),
  outputs: z
    .record(
      word,
      z.union([z.literal('answer'), path], 'must be `answer` or a path in the working directory'),
      'must be a mapping',
    )
    .optional(),
};

const time = z
  .string('must be a time such as "22:30"')
  .refine((text) => timeOfDay(text) !== null, 'must be a time such as "22:30"');
const DAY_MS = 86_400_000;
const window = z
  .strictObject(
    {
      start: time.refine((text) => timeOfDay(text) !== DAY_MS, 'must be before 24:00; the day begins at "00:00"'),
      stop: time,
      timezone: z
        .string('must be the name of a zone')
        .refine(isZone, 'is no time zone such as Europe/Berlin')
        .default('UTC'),
      running: oneOf(AT_CLOSE).default('finish'),
    },
    'must be a mapping with start, stop and timezone',
  )
  .refine(
    ({ start, stop }) => timeOfDay(start) === null || timeOfDay(start) !== timeOfDay(stop),
    'never opens: start and stop are the same',
  );
const share = z
  .union(
    [z.number(), z.string().regex(/^\d+(\.\d+)?%$/, 'must be a share such as 10% or 0.1')],
    'must be a share such as 10% or 0.1',
  )
  .transform((raw) => (typeof raw === 'number' ? raw : Number.parseFloat(raw) / 100))
  .refine((part) => part > 0 && part <= 1, 'must be more than 0 and at most 100%');
const stop_when = z.strictObject(
  { failed_steps: count(PLAN_LIMITS.steps).optional(), usd: usd.optional(), quota_left: share.optional() },
  'must be a mapping with failed_steps, usd or quota_left',
);

const PLAN = {
  name: name.refine((text) => text !== 'latest', 'must not be "latest", which means another plan'),
  concurrency: count(PLAN_LIMITS.concurrency).optional(),
  pools: z.record(name, count(PLAN_LIMITS.concurrency), 'must be a mapping of numbers').optional(),
  budget: budget.optional(),
  window: window.optional(),
  stop_when: stop_when.optional(),
  on_failure: oneOf(ON_FAILURES).optional(),
  report: path
    .refine((text) => !text.includes('{{'), 'takes no holes')
    .refine((text) => /\.(md|html|json)$/.test(text), 'must end in .md, .html or .json')
    .optional(),
};

/** The JSON Schema of a plan's file, for editors. */
export function planJsonSchema(): Record<string, unknown> {
  const file = z.strictObject({
    ...PLAN,
    defaults: z.strictObject(SHARED).optional(),
    steps: z.array(z.strictObject(STEP)).min(1),
  });
  return { ...z.toJSONSchema(file, { io: 'input' }), title: 'drover plan' };
}

type Shape = Readonly<Record<string, z.ZodType>>;
type Parsed<S extends Shape> = { [K in keyof S]?: z.output<S[K]> | undefined };

/** Keys of mappings within, for the suggestion. */
const WITHIN: Record<string, readonly string[]> = {
  budget: ['usd', 'tokens'],
  retry: ['max', 'on'],
  foreach: ['step', 'max'],
  window: ['start', 'stop', 'timezone', 'running'],
  stop_when: ['failed_steps', 'usd', 'quota_left'],
};

/**
 * Checks key by key, so that one wrong value hides no other: what is right is in `value`, what is wrong in `issues`.
 */
function parseFields<S extends Shape>(
  shape: S,
  raw: Record<string, unknown>,
  at: (string | number)[],
  issues: PlanIssue[],
  others: readonly string[] = [],
): Parsed<S> {
  const value: Record<string, unknown> = {};
  const known = [...Object.keys(shape), ...others];
  for (const key of Object.keys(raw)) if (!Object.hasOwn(shape, key)) issues.push(stranger(key, known, at));
  for (const [key, type] of Object.entries(shape)) {
    if (!Object.hasOwn(raw, key)) {
      if (!(type instanceof z.ZodOptional)) issues.push({ path: at, message: `${key} is missing` });
      continue;
    }
    const parsed = type.safeParse(raw[key], { reportInput: true });
    if (parsed.success) value[key] = parsed.data;
    else for (const issue of parsed.error.issues) issues.push(...told(issue, [...at, key]));
  }
  return value as Parsed<S>;
}

function stranger(key: string, known: readonly string[], at: (string | number)[]): PlanIssue {
  const near = similar(key, known);
  const advice = near === null ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
  return { path: [...at, key], message: `unknown key ${JSON.stringify(key.slice(0, 80))}; ${advice}`, is_key: true };
}

function told(issue: z.core.$ZodIssue, at: (string | number)[]): PlanIssue[] {
  const path = [...at, ...issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => stranger(key, WITHIN[String(at.at(-1))] ?? [], path));
  if (issue.code === 'invalid_key')
    return [{ path, message: issue.issues[0]?.message ?? 'is not a name', is_key: true }];
  if (issue.code === 'invalid_type' && issue.input === undefined && path.length > at.length)
    return [{ path: path.slice(0, -1), message: `${path.at(-1)} is missing` }];
  return [{ path, message: issue.message }];
}

function isMapping(raw: unknown): raw is Record<string, unknown> {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw);
}

/**
 * The content of a plan's file, every problem of its shape at once. `file` is as complete as it can be even when there
 * are issues, so that what it means can be checked as well; then it must not be carried out. Null: there are no steps.
 */
export function checkPlanShape(raw: unknown): { file: PlanFile | null; issues: PlanIssue[] } {
  if (!isMapping(raw))
    return { file: null, issues: [{ path: [], message: 'a plan is a mapping with name and steps' }] };
  const issues: PlanIssue[] = [];
  const { steps: list, defaults: shared, ...rest } = raw;
  const plan = parseFields(PLAN, rest, [], issues, ['defaults', 'steps']);
  if (shared !== undefined && !isMapping(shared)) issues.push({ path: ['defaults'], message: 'must be a mapping' });
  const defaults = parseFields(SHARED, isMapping(shared) ? shared : {}, ['defaults'], issues);
  if (!Array.isArray(list) || list.length === 0) {
    issues.push({ path: list === undefined ? [] : ['steps'], message: 'steps must be a list with at least one step' });
    return { file: null, issues };
  }
  if (list.length > PLAN_LIMITS.steps) {
    issues.push({ path: ['steps'], message: `${list.length} steps are more than ${PLAN_LIMITS.steps}` });
    return { file: null, issues };
  }
  const steps = list.map((each: unknown, i) => stepOf(each, i, defaults, issues));
  return { file: { ...settingsOf(plan), steps }, issues };
}

function stepOf(raw: unknown, i: number, defaults: Parsed<typeof SHARED>, issues: PlanIssue[]): PlanStep {
  const at = ['steps', i];
  if (!isMapping(raw)) issues.push({ path: at, message: 'a step is a mapping with at least a task' });
  const own = isMapping(raw) ? parseFields(STEP, raw, at, issues) : {};
  // A wrong id is told once; whoever needs the step by it is not wrong because of that.
  const id = own.id ?? (isMapping(raw) && typeof raw.id === 'string' ? raw.id : `step-${i + 1}`);
  return {
    id,
    task: own.task ?? '',
    needs: own.needs ?? [],
    harness: own.harness ?? defaults.harness ?? null,
    profile: own.profile ?? defaults.profile ?? null,
    role: own.role ?? defaults.role ?? null,
    worktree: own.worktree ?? defaults.worktree ?? null,
    base: own.base ?? (own.worktree === false ? undefined : defaults.base) ?? null,
    gate: own.gate ?? defaults.gate ?? null,
    retry: own.retry ?? defaults.retry ?? { max: 0, on: [...RETRY_CAUSES] },
    timeout_ms: own.timeout ?? defaults.timeout ?? null,
    budget: own.budget ?? defaults.budget ?? null,
    when: own.when ?? defaults.when ?? 'all_ok',
    attempts: own.attempts ?? defaults.attempts ?? 1,
    matrix: own.matrix ?? null,
    foreach: own.foreach ?? null,
    inputs: own.inputs ?? {},
    outputs: own.outputs ?? {},
    merge: own.merge ?? defaults.merge ?? 'none',
  };
}

function settingsOf(plan: Parsed<typeof PLAN>): PlanSettings {
  return {
    name: plan.name ?? 'plan',
    concurrency: plan.concurrency ?? 4,
    pools: plan.pools ?? {},
    budget: plan.budget ?? null,
    window: plan.window ?? null,
    stop_when: {
      failed_steps: plan.stop_when?.failed_steps ?? null,
      cost_micros: plan.stop_when?.usd ?? null,
      quota_left: plan.stop_when?.quota_left ?? null,
    },
    on_failure: plan.on_failure ?? 'continue',
    report: plan.report ?? null,
  };
}
