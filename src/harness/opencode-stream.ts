import type { FileTouch, HarnessEvent } from '../model/harness.ts';
import { dollarsToMicros } from '../model/usage.ts';
import { answerText, cutText, nameAt, valueText } from './event-text.ts';
import { touchesOf } from './file-touch.ts';
import { countAt, type JsonObject, numberAt, objectAt, parseLine, textAt } from './json-line.ts';
import { limitOf } from './limit.ts';

/** Event names of `opencode run --format json`. */
export const OPENCODE_EVENTS = ['step_start', 'text', 'reasoning', 'tool_use', 'step_finish', 'error'];

/** One line of `opencode run --format json` (C-03). */
export function parseOpencode(line: string): HarnessEvent[] | null {
  const event = parseLine(line);
  if (event === null) return null;
  const part = objectAt(event, 'part');
  if (event.type === 'error') return failed(event);
  if (part === null) return [custom(event)];
  const text = textAt(part, 'text') ?? '';
  switch (event.type) {
    case 'step_start':
      return sessionOf(event);
    case 'text':
      return text === '' ? [] : [{ type: 'text', text: answerText(text) }];
    case 'reasoning':
      return [{ type: 'reasoning', text: cutText(text) }];
    case 'tool_use':
      return tool(part);
    case 'step_finish':
      return stepFinish(part);
    default:
      return [custom(event)];
  }
}

function custom(event: JsonObject): HarnessEvent {
  return { type: 'custom', name: cutText(textAt(event, 'type') ?? '', 128) };
}

/** There is no first line of its own: every line names the session, the start of a step is where it is read. */
function sessionOf(event: JsonObject): HarnessEvent[] {
  const id = nameAt(event, 'sessionID');
  return [id === null ? custom(event) : { type: 'session', native_session_id: id, model: null, version: null }];
}

/** Told only when the call is over, so one line gives the use and its result. */
function tool(part: JsonObject): HarnessEvent[] {
  const name = nameAt(part, 'tool') ?? 'unknown';
  const tool_id = nameAt(part, 'callID');
  const state = objectAt(part, 'state') ?? {};
  const input = objectAt(state, 'input');
  const is_error = state.status !== 'completed' || name === 'invalid' || exitCode(state) !== 0;
  const output = valueText(state.status === 'error' ? state.error : state.output);
  const files: FileTouch[] = touchesOf(name, input);
  return [
    { type: 'tool_use', tool: name, tool_id, input: valueText(input), files },
    { type: 'tool_result', tool_id, is_error, output },
  ];
}

function exitCode(state: JsonObject): number {
  return numberAt(objectAt(state, 'metadata') ?? {}, 'exit') ?? 0;
}

/** The reasons after which another step follows; `unknown` is a stream that broke off and is asked for again. */
const GOES_ON = new Set(['tool-calls', 'unknown']);

/**
 * Counts and money are per step. The stream has no event for "done": a step that ends with `stop` is the answer, any
 * other reason that is not followed by a step (`length`, `content-filter`) is a failure.
 */
function stepFinish(part: JsonObject): HarnessEvent[] {
  const events: HarnessEvent[] = [];
  const tokens = objectAt(part, 'tokens');
  if (tokens !== null) {
    const cache = objectAt(tokens, 'cache') ?? {};
    events.push({
      type: 'usage',
      mode: 'add',
      tokens: {
        input_tokens: countAt(tokens, 'input'),
        output_tokens: countAt(tokens, 'output'),
        cache_read_tokens: countAt(cache, 'read'),
        cache_write_tokens: countAt(cache, 'write'),
        reasoning_tokens: countAt(tokens, 'reasoning'),
      },
    });
  }
  const dollars = numberAt(part, 'cost');
  if (dollars !== null && dollars >= 0) {
    events.push({ type: 'cost', mode: 'add', cost_micros: dollarsToMicros(Math.min(dollars, 1e9)) });
  }
  const reason = nameAt(part, 'reason') ?? 'unknown';
  if (GOES_ON.has(reason)) return [...events, { type: 'status', status: 'step', detail: reason }];
  const ok = reason === 'stop';
  return [...events, { type: 'result', ok, reason: ok ? 'completed' : reason, text: '', model_turns: 1, denials: [] }];
}

function failed(event: JsonObject): HarnessEvent[] {
  const error = objectAt(event, 'error') ?? {};
  const data = objectAt(error, 'data') ?? {};
  const name = nameAt(error, 'name') ?? 'error';
  const text = cutText(textAt(data, 'message') ?? name);
  const limit = limitOf({ status: numberAt(data, 'statusCode'), message: text, final: true });
  const events: HarnessEvent[] = limit === null ? [] : [{ type: 'limit', limit }];
  events.push({ type: 'error', message: text, fatal: true });
  events.push({ type: 'result', ok: false, reason: name, text, model_turns: null, denials: [] });
  return events;
}
