import type { FileTouch, HarnessEvent, Limit } from '../model/harness.ts';
import type { UsageMode } from '../model/usage.ts';
import { answerText, cutText, nameAt, valueText } from './event-text.ts';
import { boundedTouches, isPath } from './file-touch.ts';
import { countAt, type JsonObject, listAt, numberAt, objectAt, objectsAt, parseLine, textAt } from './json-line.ts';
import { httpStatus, wholeMs } from './limit.ts';
import { quotaOf } from './quota.ts';

/**
 * A line that is a `HarnessEvent` itself, as the rehearsal harness and runners with `event_format: ndjson` print them.
 *
 * Nothing is trusted: each field is read by its type, what is missing gets its neutral value, texts are cut, an event
 * without what makes it useful (a session without id, an unknown type) becomes `custom`. `null`: no JSON object.
 */
export function parseEvent(line: string): HarnessEvent[] | null {
  const event = parseLine(line);
  return event === null ? null : [guard(event) ?? { type: 'custom', name: nameAt(event, 'type') ?? '' }];
}

function guard(event: JsonObject): HarnessEvent | null {
  switch (event.type) {
    case 'session':
      return session(event);
    case 'text':
      return { type: 'text', text: answerOf(event), ...(event.is_delta === true ? { is_delta: true } : {}) };
    case 'reasoning':
      return { type: 'reasoning', text: cutText(textAt(event, 'text') ?? '') };
    case 'tool_use':
      return toolUse(event);
    case 'tool_result': {
      const is_error = event.is_error === true;
      return { type: 'tool_result', tool_id: nameAt(event, 'tool_id'), is_error, output: valueText(event.output) };
    }
    case 'usage':
      return usage(event);
    case 'cost':
      return { type: 'cost', mode: modeOf(event), cost_micros: countAt(event, 'cost_micros') };
    case 'status':
      return status(event);
    case 'limit':
      return limit(event);
    case 'result':
      return result(event);
    case 'error':
      return { type: 'error', message: cutText(textAt(event, 'message') ?? ''), fatal: event.fatal === true };
    case 'custom':
      return { type: 'custom', name: nameAt(event, 'name') ?? 'custom' };
    default:
      return null;
  }
}

function answerOf(event: JsonObject): string {
  return answerText(textAt(event, 'text') ?? '');
}

function status(event: JsonObject): HarnessEvent {
  const said = { status: nameAt(event, 'status') ?? '', detail: cutText(textAt(event, 'detail') ?? '') };
  const from = objectAt(event, 'quota');
  const left = from === null ? null : numberAt(from, 'share_left');
  const quota = quotaOf(from === null ? null : nameAt(from, 'kind'), left, wholeMs(numberAt(from ?? {}, 'resets_at')));
  return quota === null ? { type: 'status', ...said } : { type: 'status', ...said, quota };
}

function session(event: JsonObject): HarnessEvent | null {
  const id = nameAt(event, 'native_session_id');
  if (id === null) return null;
  return { type: 'session', native_session_id: id, model: nameAt(event, 'model'), version: nameAt(event, 'version') };
}

function toolUse(event: JsonObject): HarnessEvent | null {
  const tool = nameAt(event, 'tool');
  if (tool === null) return null;
  const files = boundedTouches(objectsAt(event, 'files').flatMap((each) => touch(each) ?? []));
  return { type: 'tool_use', tool, tool_id: nameAt(event, 'tool_id'), input: valueText(event.input), files };
}

const ACTIONS = new Map<unknown, FileTouch['action']>(
  (['read', 'create', 'modify', 'move', 'delete', 'touch'] as const).map((action) => [action, action]),
);

function touch(from: JsonObject): FileTouch | null {
  const path = textAt(from, 'path');
  const action = ACTIONS.get(from.action);
  return path === null || action === undefined || !isPath(path) ? null : { path, action };
}

function modeOf(event: JsonObject): UsageMode {
  return event.mode === 'turn' || event.mode === 'thread' ? event.mode : 'add';
}

function usage(event: JsonObject): HarnessEvent {
  const from = objectAt(event, 'tokens') ?? {};
  const tokens = {
    input_tokens: countAt(from, 'input_tokens'),
    output_tokens: countAt(from, 'output_tokens'),
    cache_read_tokens: countAt(from, 'cache_read_tokens'),
    cache_write_tokens: countAt(from, 'cache_write_tokens'),
    reasoning_tokens: countAt(from, 'reasoning_tokens'),
  };
  return { type: 'usage', mode: modeOf(event), tokens };
}

const LIMIT_KINDS = new Map<unknown, Limit['kind']>(
  (['usage_limit', 'rate_limit', 'overloaded', 'auth', 'quota_unknown', 'network'] as const).map((kind) => [
    kind,
    kind,
  ]),
);

function limit(event: JsonObject): HarnessEvent | null {
  const from = objectAt(event, 'limit');
  const kind = LIMIT_KINDS.get(from?.kind);
  if (from === null || kind === undefined) return null;
  return {
    type: 'limit',
    limit: {
      kind,
      status: httpStatus(numberAt(from, 'status')),
      message: cutText(textAt(from, 'message') ?? ''),
      resets_at: wholeMs(numberAt(from, 'resets_at')),
      retry_after_ms: wholeMs(numberAt(from, 'retry_after_ms')),
      final: from.final === true,
    },
  };
}

function result(event: JsonObject): HarnessEvent {
  const ok = event.ok === true;
  return {
    type: 'result',
    ok,
    reason: nameAt(event, 'reason') ?? (ok ? 'completed' : 'error'),
    text: ok ? answerOf(event) : cutText(textAt(event, 'text') ?? ''),
    model_turns: numberAt(event, 'model_turns') === null ? null : countAt(event, 'model_turns'),
    denials: listAt(event, 'denials').flatMap((each) => (typeof each === 'string' ? [cutText(each, 256)] : [])),
  };
}
