import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '../sys/clock.ts';
import { faults } from './faults.ts';
import { fillText } from './prompt.ts';
import type { Step, StepInput, StepKind } from './script-schema.ts';
import type { Stage } from './stage.ts';
import { work } from './work.ts';

const POLL_MS = 10;

/** A handler that returns a number ends the process with it, at once and without a result. */
type Acts = { [K in StepKind]: (input: StepInput<K>, stage: Stage) => unknown };

const acts: Acts = {
  ...work,
  ...faults,
  say: ({ text }, stage) => stage.say(text),
  think: ({ text }, { out }) => out.event({ type: 'reasoning', text }),
  usage: ({ mode, ...tokens }, stage) => stage.usage(mode, tokens),
  cost: ({ mode, cost_micros }, { out }) => out.event({ type: 'cost', mode, cost_micros }),
  limit: ({ resets_in_ms, ...limit }, stage) => {
    const resets_at = resets_in_ms === undefined ? limit.resets_at : systemClock.now() + resets_in_ms;
    if (limit.final) stage.limit = limit.kind;
    stage.out.event({ type: 'limit', limit: { ...limit, resets_at } });
  },
  session: ({ id }, { out }) => out.event({ type: 'session', native_session_id: id, model: MODEL, version: null }),
  result: (step, stage) => stage.result(step),
  no_result: (_, stage) => {
    stage.is_result_withheld = true;
  },
  sleep: ({ ms }) => systemClock.sleep(ms),
  wait_for_file: async ({ path }) => {
    while (!existsSync(path)) await systemClock.sleep(POLL_MS);
  },
  touch: ({ path }) => {
    mkdirSync(dirname(path), { recursive: true });
    closeSync(openSync(path, 'a'));
  },
  exit: ({ code }) => code,
};

/** What stands in `session` events where a real harness names its model. */
export const MODEL = 'rehearsal';

export interface PlayOptions {
  /** Values of the `{{…}}` holes in the steps' texts. */
  values: ReadonlyMap<string, string>;
  /** Model turns after which the harness gives up, as `--max-turns` says. */
  max_turns: number | null;
}

/** Plays one turn; the exit code. A result that nobody scripted comes at the end: a good one, unless a limit was final. */
export async function playTurn(steps: readonly Step[], stage: Stage, options: PlayOptions): Promise<number> {
  for (const step of steps) {
    if (step.kind in work && options.max_turns !== null && stage.model_turns >= options.max_turns) {
      stage.result({ ok: false, reason: 'max_turns', text: `gave up after ${options.max_turns} model turns` });
      return 1;
    }
    const code = await act(filled(step, options.values), stage);
    if (code !== null) return code;
  }
  stage.close();
  return stage.result_ok === false ? 1 : 0;
}

async function act<K extends StepKind>(step: { kind: K; input: StepInput<K> }, stage: Stage): Promise<number | null> {
  const code = await acts[step.kind](step.input, stage);
  return step.kind === 'exit' && typeof code === 'number' ? code : null;
}

function filled(step: Step, values: ReadonlyMap<string, string>): Step {
  return { kind: step.kind, input: filledValue(step.input, values) } as Step;
}

function filledValue(value: unknown, values: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') return fillText(value, values);
  if (Array.isArray(value)) return value.map((each) => filledValue(each, values));
  if (!(value instanceof Object)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filledValue(each, values)]));
}
