import type { FileTouch, Limit } from '../model/harness.ts';
import type { TokenCounts } from '../model/usage.ts';
import type { Output } from './output.ts';
import type { StepInput } from './script-schema.ts';

/** Rough, but the same every time: characters per token. */
const CHARACTERS_PER_TOKEN = 4;

export interface ToolCall {
  tool: string;
  /** Anything that can be JSON. */
  input: unknown;
  files?: FileTouch[];
}

export interface ToolAnswer {
  output: string;
  is_error: boolean;
}

/** What has happened so far in this turn, and the events that follow from it. */
export class Stage {
  readonly out: Output;
  /** A step said that no result comes by itself. */
  is_result_withheld = false;
  /** Of the last result; null before it. */
  result_ok: boolean | null = null;
  /** One, and one more after every tool call: the model has to read the answer. */
  model_turns = 1;
  /** The provider's last word, if it was a final no. */
  limit: Limit['kind'] | null = null;
  #calls = 0;
  #said = '';
  #is_usage_told = false;
  readonly #prompt_length: number;

  constructor(out: Output, prompt_length: number) {
    this.out = out;
    this.#prompt_length = prompt_length;
  }

  say(text: string): void {
    this.#said = text;
    this.out.event({ type: 'text', text });
  }

  /** One call with its answer. What `act` throws is the answer too, as a failed call. */
  async tool(call: ToolCall, act: () => Promise<ToolAnswer> | ToolAnswer): Promise<ToolAnswer> {
    this.#calls += 1;
    const tool_id = `call-${this.#calls}`;
    const input = typeof call.input === 'string' ? call.input : (JSON.stringify(call.input) ?? '');
    this.out.event({ type: 'tool_use', tool: call.tool, tool_id, input, files: call.files ?? [] });
    const answer = await attempt(act);
    this.out.event({ type: 'tool_result', tool_id, ...answer });
    this.model_turns += 1;
    return answer;
  }

  usage(mode: 'add' | 'turn' | 'thread', tokens: TokenCounts): void {
    this.#is_usage_told = true;
    this.out.event({ type: 'usage', mode, tokens });
  }

  /** A result, and before it the tokens if no step told them. After a final limit it is a failure unless `ok` says not. */
  result(step: Partial<StepInput<'result'>>): void {
    if (!this.#is_usage_told) this.usage('add', this.#estimate());
    const ok = step.ok ?? this.limit === null;
    this.result_ok = ok;
    this.out.event({
      type: 'result',
      ok,
      reason: step.reason ?? (ok ? 'completed' : (this.limit ?? 'error')),
      text: step.text ?? this.#said,
      model_turns: step.model_turns === undefined ? this.model_turns : step.model_turns,
      denials: step.denials ?? [],
    });
  }

  /** The result that comes by itself, once and unless it is withheld. */
  close(): void {
    if (this.result_ok === null && !this.is_result_withheld) this.result({});
  }

  #estimate(): TokenCounts {
    return {
      input_tokens: Math.ceil(this.#prompt_length / CHARACTERS_PER_TOKEN),
      output_tokens: Math.ceil(this.out.written / CHARACTERS_PER_TOKEN),
      cache_read_tokens: 0,
      cache_write_tokens: 0,
      reasoning_tokens: 0,
    };
  }
}

async function attempt(act: () => Promise<ToolAnswer> | ToolAnswer): Promise<ToolAnswer> {
  try {
    return await act();
  } catch (error) {
    return { output: error instanceof Error ? error.message : String(error), is_error: true };
  }
}
