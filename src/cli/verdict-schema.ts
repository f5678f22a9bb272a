import { z } from 'zod';
import { TRIAGE_WORDS } from '../model/triage.ts';
import { HEALTHS, type VerdictRow, WATCH_ACTS } from '../model/verdict.ts';

/** The last instant that a `Date` holds. */
const LAST_INSTANT = 8.64e15;

const instant = z.number().min(-LAST_INSTANT).max(LAST_INSTANT);
const number = z.number();
const ago = number.nullable();

const timerFacts = z.looseObject({
  process: z.enum(['alive', 'gone', 'unknown']),
  ...{ started_at: number, first_event_at: ago, last_event_at: ago, result_at: ago, awake_since: number },
  ...{ tools_open: number, end_cause: z.string().nullable(), timeout_ms: ago, log_bytes: number },
  early_first_event: z.boolean(),
});

const watchFacts = timerFacts.extend({
  repetition: z.looseObject({ period: number, times: number, last_at: number }).nullable(),
  ...{
    written_at: ago,
    child_event_at: ago,
    ending_since: ago,
    gating_since: ago.optional(),
    unchanged_tokens: ago,
    cpu_ms: ago,
    cpu_over_ms: ago,
  },
});

/** What the watchdog judged; without `facts` something that was only measured, like the memory of a tree. */
const judged = z.union([
  z.looseObject({
    facts: watchFacts,
    rung: z.looseObject({ escalation_level: number, escalated_at: ago, escalation_cause: z.string().nullable() }),
    can_resume: z.boolean(),
    triage: z.union([z.enum(['none', 'open', 'asked']), z.looseObject({ verdict: z.enum(TRIAGE_WORDS) })]),
  }),
  z.looseObject({ facts: z.undefined() }),
]);

const thresholds = z.record(z.string(), z.unknown()).optional();
const limits = z.looseObject({ turn: thresholds, watchdog: thresholds, gate: thresholds });

const verdict = z.looseObject({
  judged_by: z.enum(['supervisor', 'watchdog']),
  session_id: z.string(),
  turn: number,
  health: z.enum(HEALTHS),
  cause: z.string().nullable(),
  act: z.enum(WATCH_ACTS),
  level: number,
  evidence: z.string(),
  facts_json: z.string(),
  limits_json: z.string(),
  at: z.preprocess((at) => (typeof at === 'string' ? Date.parse(at) : at), instant),
});

/**
 * A verdict as `watch explain --json` prints it or as it is stored, with `at` in wall ms; in words what keeps the value
 * from being one. What is inside of `facts_json` and `limits_json` is looked at as well: it is what is judged again.
 */
export function asVerdict(value: unknown): VerdictRow | string {
  const row = verdict.safeParse(value);
  if (!row.success) return complaint(row.error);
  const { judged_by, facts_json, limits_json } = row.data;
  for (const [key, text, schema] of [
    ['facts_json', facts_json, judged_by === 'supervisor' ? timerFacts : judged],
    ['limits_json', limits_json, limits],
  ] as const) {
    const inner = parsed(text);
    if (inner === undefined) return `${key} is no JSON`;
    const checked = schema.safeParse(inner);
    if (!checked.success) return `${key}: ${complaint(checked.error)}`;
  }
  return row.data as unknown as VerdictRow;
}

function complaint({ issues: [first] }: z.ZodError): string {
  const path = first?.path.map(String).join('.') ?? '';
  return `${path === '' ? '' : `${path}: `}${first?.message ?? 'not understood'}`;
}

/** `undefined`: not JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
