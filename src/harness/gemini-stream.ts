import type { HarnessEvent } from '../model/harness.ts';
import { answerText, cutText, nameAt, valueText } from './event-text.ts';
import { touchesOf } from './file-touch.ts';
import { countAt, type JsonObject, numberAt, objectAt, parseLine, textAt } from './json-line.ts';
import { limitOf } from './limit.ts';

/** Event names of `--output-format stream-json`. */
export const GEMINI_EVENTS = [
  ...['init', 'message/user', 'message/assistant', 'tool_use', 'tool_result/success', 'tool_result/error'],
  ...['error', 'result/success', 'result/error'],
];

/** One line of Gemini's event stream (C-03). */
export function parseGemini(line: string): HarnessEvent[] | null {
  const event = parseLine(line);
  if (event === null) return null;
  switch (event.type) {
    case 'init':
      return init(event);
    case 'message':
      return message(event);
    case 'tool_use':
      return [toolUse(event)];
    case 'tool_result':
      return [toolResult(event)];
    case 'error':
      return [{ type: 'error', message: cutText(textAt(event, 'message') ?? ''), fatal: false }];
    case 'result':
      return result(event);
    default:
      return [custom(event)];
  }
}

function custom(event: JsonObject): HarnessEvent {
  const role = nameAt(event, 'role');
  const type = nameAt(event, 'type') ?? '';
  return { type: 'custom', name: cutText(role === null ? type : `${type}/${role}`, 128) };
}

function init(event: JsonObject): HarnessEvent[] {
  const id = nameAt(event, 'session_id');
  if (id === null) return [custom(event)];
  return [{ type: 'session', native_session_id: id, model: nameAt(event, 'model'), version: null }];
}

/** Assistant text comes in pieces that belong together as they are; the user's own message is echoed first. */
function message(event: JsonObject): HarnessEvent[] {
  const text = answerText(textAt(event, 'content') ?? '');
  if (event.role === 'user') return [];
  if (event.role !== 'assistant' || text === '') return [custom(event)];
  return [event.delta === true ? { type: 'text', text, is_delta: true } : { type: 'text', text }];
}

function toolUse(event: JsonObject): HarnessEvent {
  const tool = nameAt(event, 'tool_name') ?? 'unknown';
  const input = objectAt(event, 'parameters');
  return {
    type: 'tool_use',
    tool,
    tool_id: nameAt(event, 'tool_id'),
    input: valueText(input),
    files: touchesOf(tool, input),
  };
}

function toolResult(event: JsonObject): HarnessEvent {
  const failure = objectAt(event, 'error');
  const output = valueText(failure === null ? event.output : (failure.message ?? event.output));
  return { type: 'tool_result', tool_id: nameAt(event, 'tool_id'), is_error: event.status !== 'success', output };
}

function result(event: JsonObject): HarnessEvent[] {
  const stats = objectAt(event, 'stats');
  const ok = event.status === 'success';
  const failure = objectAt(event, 'error');
  const text = cutText(failure === null ? '' : (textAt(failure, 'message') ?? ''));
  const events: HarnessEvent[] = stats === null ? [] : [usage(stats)];
  if (!ok) {
    const limit = limitOf({ status: failure === null ? null : numberAt(failure, 'code'), message: text, final: true });
    if (limit !== null) events.push({ type: 'limit', limit });
  }
  const kind = nameAt(failure ?? {}, 'type') ?? 'unknown';
  const reason = ok ? 'completed' : kind === 'unknown' ? 'api_error' : kind;
  events.push({
    type: 'result',
    ok,
    reason,
    text,
    model_turns: stats === null ? null : modelTurns(stats),
    denials: [],
  });
  return events;
}

/** Totals of this process. Cached input is counted inside input, thoughts only inside the total: taken apart here. */
function usage(stats: JsonObject): HarnessEvent {
  const input = countAt(stats, 'input_tokens');
  const output_tokens = countAt(stats, 'output_tokens');
  const cache_read_tokens = Math.min(input, countAt(stats, 'cached'));
  const reasoning_tokens = Math.max(0, countAt(stats, 'total_tokens') - input - output_tokens);
  const tokens = { input_tokens: input - cache_read_tokens, output_tokens, cache_read_tokens };
  return { type: 'usage', mode: 'turn', tokens: { ...tokens, cache_write_tokens: 0, reasoning_tokens } };
}

/** At least one when a model answered; 0 for text that the CLI swallowed as a command of its own. */
function modelTurns(stats: JsonObject): number {
  const models = Object.keys(objectAt(stats, 'models') ?? {}).length;
  return models > 0 || countAt(stats, 'total_tokens') > 0 ? 1 : 0;
}
