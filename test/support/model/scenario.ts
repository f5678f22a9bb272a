import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { ModelRequest } from './request.ts';

/**
 * What the scripted model says, in words that belong to no harness.
 *
 * A scenario is an ordered list of steps. Every model request that is not a side request (titles, token counts,
 * reachability probes) takes the first step that is left and whose `when` fits; a step serves `times` requests
 * (default 1, `"forever"` never runs out). With no step left the answer is `default_text`.
 */
export interface Scenario {
  name: string;
  default_text: string;
  usage: TokenUsage;
  steps: (Step | StepMaker)[];
}

/** A step that is worked out from the request, for scripts that must quote what the agent was told. */
export type StepMaker = (request: ModelRequest) => Step;

/** Token counts as a bill shows them: `input` excludes what came from the cache. */
export interface TokenUsage {
  input: number;
  output: number;
  cache_read: number;
}

const usage = z.strictObject({ input: z.int(), output: z.int(), cache_read: z.int() }).partial();

/** All given conditions must hold. Texts are searched as they were sent, without regard to line wrapping. */
const when = z
  .strictObject({
    /** In the newest user text or tool result. */
    contains: z.string(),
    /** Anywhere in the conversation, system prompt included: tells sessions apart that share one server. */
    conversation_contains: z.string(),
    conversation_lacks: z.string(),
    model: z.string(),
  })
  .partial();

const common = {
  when: when.optional(),
  times: z.union([z.int().min(1), z.literal('forever')]).optional(),
  /** Wait before the first byte of the answer. */
  delay_ms: z.int().min(0).optional(),
  usage: usage.optional(),
  /** Added to the headers of the answer, whatever it is. */
  headers: z.record(z.string(), z.string()).optional(),
};

const toolCall = z.discriminatedUnion('verb', [
  z.strictObject({ verb: z.literal('write_file'), path: z.string(), content: z.string() }),
  z.strictObject({ verb: z.literal('shell'), command: z.string() }),
  z.strictObject({
    verb: z.literal('mcp'),
    server: z.string(),
    tool: z.string(),
    args: z.record(z.string(), z.unknown()),
  }),
  /** Exactly this name and these arguments; `namespace` is for the Responses API only. */
  z.strictObject({
    verb: z.literal('raw'),
    name: z.string(),
    args: z.record(z.string(), z.unknown()),
    namespace: z.string().optional(),
  }),
]);

const step = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('text'), text: z.string(), reasoning: z.string().optional(), ...common }),
  z.strictObject({
    kind: z.literal('tools'),
    calls: z.array(toolCall).min(1),
    text: z.string().optional(),
    reasoning: z.string().optional(),
    ...common,
  }),
  /** An error answer in the provider's own shape. `flavour` picks among the shapes that share a status. */
  z.strictObject({
    kind: z.literal('status'),
    status: z.int().min(400).max(599),
    flavour: z.enum(['plain', 'usage_limit', 'quota', 'credit']).optional(),
    message: z.string().optional(),
    /** For `usage_limit`: seconds from now until the limit is lifted (default 3600). */
    resets_in_s: z.int().optional(),
    ...common,
  }),
  /** Accepts and never finishes: before the headers, after them, or half-way through the text. */
  z.strictObject({
    kind: z.literal('hang'),
    at: z.enum(['start', 'headers', 'middle']).optional(),
    text: z.string().optional(),
    ...common,
  }),
  /**
   * Half of the answer, and then the HTTP answer is closed as if it were whole (`end`), or the connection ends in order
   * (`fin`) or by reset (`rst`).
   */
  z.strictObject({
    kind: z.literal('cut'),
    how: z.enum(['end', 'fin', 'rst']),
    text: z.string().optional(),
    ...common,
  }),
]);

const scenario = z.strictObject({
  name: z.string().optional(),
  about: z.string().optional(),
  default_text: z.string().optional(),
  usage: usage.optional(),
  steps: z.array(step),
});

export type Step = z.infer<typeof step>;
export type ToolCall = z.infer<typeof toolCall>;
export type StatusStep = Extract<Step, { kind: 'status' }>;
/** What may be handed to the server: a scenario with everything but `steps` optional. */
export type ScenarioInput = Partial<Omit<Scenario, 'usage'>> & { usage?: Partial<TokenUsage> };

const DEFAULT_USAGE: TokenUsage = { input: 100, output: 10, cache_read: 5 };
const DEFAULT_TEXT = 'Nothing is left in the script.';

/** Fills in the defaults. */
export function completeScenario(input: ScenarioInput): Scenario {
  return {
    name: input.name ?? 'unnamed',
    default_text: input.default_text ?? DEFAULT_TEXT,
    usage: { ...DEFAULT_USAGE, ...input.usage },
    steps: [...(input.steps ?? [])],
  };
}

/**
 * Reads `test/fixtures/model/<name>.json` (or a path that ends in `.json`) and fills `{{hole}}`s from `vars`.
 * A hole without a value and an unknown key are errors: a script that silently says less is worse than none.
 */
export function loadScenario(name: string, vars: Record<string, string> = {}): Scenario {
  const path = name.endsWith('.json') ? name : join(import.meta.dir, '../../fixtures/model', `${name}.json`);
  const filled = readFileSync(path, 'utf8').replace(/\{\{(\w+)\}\}/g, (_, hole: string) => {
    const value = vars[hole];
    if (value === undefined) throw new Error(`${path}: nothing given for {{${hole}}}`);
    return JSON.stringify(value).slice(1, -1);
  });
  const parsed = scenario.safeParse(JSON.parse(filled));
  if (!parsed.success) throw new Error(`${path}: ${z.prettifyError(parsed.error)}`);
  const { name: given, default_text, usage: counts, steps } = parsed.data;
  return completeScenario({
    name: given ?? name,
    ...(default_text === undefined ? {} : { default_text }),
    ...(counts === undefined ? {} : { usage: definedCounts(counts) }),
    steps,
  });
}

/** Usage of one step over the scenario's. */
export function usageOf(script: Scenario, current: Step): TokenUsage {
  return { ...script.usage, ...definedCounts(current.usage ?? {}) };
}

function definedCounts(counts: z.infer<typeof usage>): Partial<TokenUsage> {
  return Object.fromEntries(Object.entries(counts).filter(([, value]) => value !== undefined));
}

/** Hands out steps; remembers how often each was used. */
export class Script {
  readonly scenario: Scenario;
  private readonly used: number[];

  constructor(input: ScenarioInput) {
    this.scenario = completeScenario(input);
    this.used = this.scenario.steps.map(() => 0);
  }

  /** The step for this request and its index; index `null` means the script had none and the default answers. */
  take(request: ModelRequest): { step: Step; index: number | null } {
    for (const [index, entry] of this.scenario.steps.entries()) {
      const uses = this.used[index] ?? 0;
      if (typeof entry === 'function') {
        if (uses > 0) continue;
        this.used[index] = 1;
        return { step: entry(request), index };
      }
      if (entry.times !== 'forever' && uses >= (entry.times ?? 1)) continue;
      if (!fits(entry, request)) continue;
      this.used[index] = uses + 1;
      return { step: entry, index };
    }
    return { step: { kind: 'text', text: this.scenario.default_text }, index: null };
  }

  /** Indices of steps that no request has used: a test of a whole story asserts that none is left. */
  unused(): number[] {
    return this.used.flatMap((uses, index) => (uses === 0 ? [index] : []));
  }
}

function fits(entry: Step, request: ModelRequest): boolean {
  const want = entry.when;
  if (!want) return true;
  const all = () => [request.system_text, ...request.texts.map((part) => part.text)].join('\n');
  if (want.contains !== undefined && !request.newest_text.includes(want.contains)) return false;
  if (want.model !== undefined && request.model !== want.model) return false;
  if (want.conversation_contains !== undefined && !all().includes(want.conversation_contains)) return false;
  return want.conversation_lacks === undefined || !all().includes(want.conversation_lacks);
}
