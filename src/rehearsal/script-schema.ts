import { z } from 'zod';
import { AppError } from '../model/error.ts';
import { MAIL_TYPES, PRIORITIES } from '../model/mail.ts';

const text = z.string();
const path = z.string().min(1);
const count = z.number().int().nonnegative();
const ms = count.describe('milliseconds');
const stream = z.enum(['stdout', 'stderr']).default('stdout');
const mode = z.enum(['add', 'turn', 'thread']);
const actions = z.enum(['read', 'create', 'modify', 'move', 'delete', 'touch']);
const files = z.array(
  z.union([
    path.transform((file) => ({ path: file, action: 'modify' as const })),
    z.strictObject({ path, action: actions }),
  ]),
);

/** Signals a process may send to itself here; the others make Bun write a crash report of its own. */
const FATAL = ['KILL', 'TERM', 'INT', 'HUP', 'QUIT'] as const;

/**
 * Every kind of step and what stands behind its name. `short` is the field that a bare value means:
 * `- say: hello` is `- say: { text: hello }`, and `- hang` is `- hang: {}`.
 */
const STEPS = {
  // What a model says and does.
  say: { short: 'text', shape: z.strictObject({ text }) },
  think: { short: 'text', shape: z.strictObject({ text }) },
  tool: {
    short: 'tool',
    shape: z.strictObject({
      tool: z.string().min(1),
      input: z.unknown().optional(),
      output: text.default(''),
      files: files.default([]),
      ms: ms.default(0),
      is_error: z.boolean().default(false),
    }),
  },
  write: { short: null, shape: z.strictObject({ path, content: text.default('') }) },
  append: { short: null, shape: z.strictObject({ path, content: text }) },
  commit: {
    short: 'message',
    shape: z.strictObject({ message: z.string().min(1).default('Rehearsal'), paths: z.array(path).optional() }),
  },
  run: { short: 'command', shape: z.strictObject({ command: z.string().min(1) }) },
  // What an agent tells others, through the drover command line.
  mail: {
    short: null,
    shape: z.strictObject({
      to: z.string().min(1).optional(),
      type: z.enum(MAIL_TYPES).default('status'),
      priority: z.enum([...PRIORITIES, 'urgent']).default('normal'),
      subject: text.default(''),
      body: text.default(''),
    }),
  },
  done: { short: 'summary', shape: z.strictObject({ summary: text.default('Rehearsed.') }) },
  ask: { short: 'question', shape: z.strictObject({ question: z.string().min(1) }) },
  check_mail: { short: null, shape: z.strictObject({}) },
  // What a harness reports.
  usage: {
    short: null,
    shape: z.strictObject({
      mode: mode.default('add'),
      input_tokens: count.default(0),
      output_tokens: count.default(0),
      cache_read_tokens: count.default(0),
      cache_write_tokens: count.default(0),
      reasoning_tokens: count.default(0),
    }),
  },
  cost: { short: 'cost_micros', shape: z.strictObject({ mode: mode.default('turn'), cost_micros: count }) },
  limit: {
    short: 'kind',
    shape: z.strictObject({
      kind: z
        .enum(['usage_limit', 'rate_limit', 'overloaded', 'auth', 'quota_unknown', 'network'])
        .default('usage_limit'),
      status: count.nullable().default(429),
      message: text.default('limit reached'),
      resets_at: count.nullable().default(null),
      resets_in_ms: ms.optional(),
      retry_after_ms: ms.nullable().default(null),
      final: z.boolean().default(true),
    }),
  },
  session: { short: 'id', shape: z.strictObject({ id: z.string().min(1) }) },
  result: {
    short: 'text',
    shape: z.strictObject({
      ok: z.boolean().optional(),
      reason: text.optional(),
      text: text.optional(),
      model_turns: count.nullable().optional(),
      denials: z.array(text).default([]),
    }),
  },
  no_result: { short: null, shape: z.strictObject({}) },
  // Time and the outside world.
  sleep: { short: 'ms', shape: z.strictObject({ ms }) },
  wait_for_file: { short: 'path', shape: z.strictObject({ path }) },
  touch: { short: 'path', shape: z.strictObject({ path }) },
  // Faults.
  print: {
    short: 'raw',
    shape: z
      .strictObject({ raw: text.optional(), base64: z.base64().optional(), to: stream })
      .refine((step) => (step.raw === undefined) !== (step.base64 === undefined), 'needs either raw or base64'),
  },
  line: { short: 'bytes', shape: z.strictObject({ bytes: count.min(64), to: stream }) },
  flood: { short: 'events', shape: z.strictObject({ events: count, bytes: count.min(64).default(128), to: stream }) },
  daemon: {
    short: 'ms',
    shape: z.strictObject({
      ms,
      setsid: z.boolean().default(true),
      stdout: z.enum(['hold', 'close']).default('hold'),
      clean_env: z.boolean().default(false),
    }),
  },
  ignore_signals: {
    short: 'signals',
    shape: z.strictObject({ signals: z.array(z.enum(['TERM', 'INT', 'HUP', 'QUIT'])).min(1) }),
  },
  hang: { short: null, shape: z.strictObject({ close_stdout: z.boolean().default(false) }) },
  linger: { short: 'ms', shape: z.strictObject({ ms: ms.optional() }) },
  crash: { short: 'signal', shape: z.strictObject({ signal: z.enum(FATAL).default('KILL') }) },
  exit: { short: 'code', shape: z.strictObject({ code: z.number().int().min(0).max(255) }) },
} as const;

export type StepKind = keyof typeof STEPS;
export type StepInput<K extends StepKind> = z.output<(typeof STEPS)[K]['shape']>;
/** One step, checked: its kind and everything it needs, defaults filled in. */
export type Step = { [K in StepKind]: { kind: K; input: StepInput<K> } }[StepKind];

/** Turn n plays `turns[n-1]`; later turns play `on_mail`, or the last of `turns` again when there is none. */
export interface Script {
  turns: Step[][];
  on_mail: Step[] | null;
}

const scriptShape = z.strictObject({
  turns: z.array(z.array(z.unknown())).min(1),
  on_mail: z.array(z.unknown()).optional(),
});

/** The script in a parsed YAML or JSON document. Throws `script_invalid` (2) with every problem and its place. */
export function checkScript(raw: unknown, file: string): Script {
  const shape = scriptShape.safeParse(raw);
  if (!shape.success)
    throw invalid(
      file,
      shape.error.issues.map((issue) => located('', issue)),
    );
  const problems: string[] = [];
  const steps = (list: unknown[], place: string) =>
    list.flatMap((step, index) => checkStep(step, `${place}[${index}]`, problems) ?? []);
  const turns = shape.data.turns.map((list, index) => steps(list, `turns[${index}]`));
  const on_mail = shape.data.on_mail === undefined ? null : steps(shape.data.on_mail, 'on_mail');
  if (problems.length > 0) throw invalid(file, problems);
  return { turns, on_mail };
}

function checkStep(raw: unknown, place: string, problems: string[]): Step | null {
  const entries = typeof raw === 'string' ? [[raw, {}] as const] : raw instanceof Object ? Object.entries(raw) : [];
  const [entry] = entries;
  if (entry === undefined || entries.length !== 1) {
    problems.push(`${place}: a step is one "name: value" or one name`);
    return null;
  }
  const [kind, value] = entry;
  if (!Object.hasOwn(STEPS, kind)) {
    problems.push(`${place}: there is no step "${kind}"; there are ${Object.keys(STEPS).join(', ')}`);
    return null;
  }
  const { short, shape } = STEPS[kind as StepKind];
  const isFields = value instanceof Object && !Array.isArray(value);
  const input = isFields || short === null ? (value ?? {}) : value === null ? {} : { [short]: value };
  const parsed = shape.safeParse(input);
  if (parsed.success) return { kind, input: parsed.data } as Step;
  problems.push(...parsed.error.issues.map((issue) => located(`${place}.${kind}`, issue)));
  return null;
}

function located(place: string, issue: { path: PropertyKey[]; message: string }): string {
  const at = [place, ...issue.path.map(String)].filter((part) => part !== '').join('.');
  return `${at || 'the document'}: ${issue.message}`;
}

function invalid(file: string, problems: string[]): AppError {
  return new AppError('usage', 'script_invalid', `The rehearsal script ${file} is not usable: ${problems.join('; ')}.`);
}
