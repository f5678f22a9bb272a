import type { FileTouch, HarnessEvent } from '../model/harness.ts';
import { answerText, cutText, nameAt, valueText } from './event-text.ts';
import { boundedTouches, isPath } from './file-touch.ts';
import { countAt, type JsonObject, numberAt, objectAt, objectsAt, parseLine, textAt } from './json-line.ts';
import { limitOf } from './limit.ts';

/** Event names of `codex exec --json`; items are named `item.<phase>/<item type>`. */
export const CODEX_EVENTS = [
  ...['thread.started', 'turn.started', 'turn.completed', 'turn.failed', 'error'],
  ...['item.completed/agent_message', 'item.completed/reasoning', 'item.completed/error'],
  ...['command_execution', 'file_change', 'mcp_tool_call', 'collab_tool_call', 'web_search'].flatMap((item) => [
    `item.started/${item}`,
    `item.completed/${item}`,
  ]),
  ...['item.started/todo_list', 'item.updated/todo_list', 'item.completed/todo_list'],
];

/** One line of `codex exec --json` (C-03). */
export function parseCodex(line: string): HarnessEvent[] | null {
  const event = parseLine(line);
  if (event === null) return null;
  switch (event.type) {
    case 'thread.started':
      return threadStarted(event);
    case 'turn.started':
      return [{ type: 'status', status: 'turn_started', detail: '' }];
    case 'item.started':
    case 'item.updated':
    case 'item.completed':
      return item(event, event.type);
    case 'turn.completed':
      return turnCompleted(event);
    case 'turn.failed':
      return turnFailed(event);
    case 'error':
      return errorEvent(event);
    default:
      return [custom(event)];
  }
}

function custom(event: JsonObject): HarnessEvent {
  const type = nameAt(event, 'type') ?? '';
  const kind = nameAt(objectAt(event, 'item') ?? {}, 'type');
  return { type: 'custom', name: cutText(kind === null ? type : `${type}/${kind}`, 128) };
}

function threadStarted(event: JsonObject): HarnessEvent[] {
  const id = nameAt(event, 'thread_id');
  return [id === null ? custom(event) : { type: 'session', native_session_id: id, model: null, version: null }];
}

function item(event: JsonObject, phase: 'item.started' | 'item.updated' | 'item.completed'): HarnessEvent[] {
  const part = objectAt(event, 'item');
  if (part === null) return [custom(event)];
  const tool = toolOf(part);
  if (tool !== null && phase !== 'item.updated') {
    return [phase === 'item.started' ? toolUse(part, tool) : toolResult(part)];
  }
  if (SILENT_ITEMS.has(part.type)) return [];
  if (phase !== 'item.completed') return [custom(event)];
  const text = textAt(part, 'text') ?? '';
  switch (part.type) {
    case 'agent_message':
      return text === '' ? [] : [{ type: 'text', text: answerText(text) }];
    case 'reasoning':
      return [{ type: 'reasoning', text: cutText(text) }];
    case 'error':
      // An item of type error is a warning (unknown model, skipped hook); the turn goes on.
      return [{ type: 'error', message: cutText(textAt(part, 'message') ?? ''), fatal: false }];
    default:
      return [custom(event)];
  }
}

const SILENT_ITEMS = new Set<unknown>(['todo_list']);

/** The name of the tool an item stands for; `null` for items that are no tool calls. */
function toolOf(part: JsonObject): string | null {
  switch (part.type) {
    case 'command_execution':
      return 'shell';
    case 'file_change':
      return 'apply_patch';
    case 'mcp_tool_call':
      return cutText(`mcp__${textAt(part, 'server') ?? ''}__${textAt(part, 'tool') ?? ''}`, 256);
    case 'collab_tool_call':
      return nameAt(part, 'tool') ?? 'collab';
    case 'web_search':
      return 'web_search';
    default:
      return null;
  }
}

function toolUse(part: JsonObject, tool: string): HarnessEvent {
  const input = valueText(part.command ?? part.arguments ?? part.changes ?? part.query);
  return { type: 'tool_use', tool, tool_id: nameAt(part, 'id'), input, files: changedFiles(part) };
}

function toolResult(part: JsonObject): HarnessEvent {
  const exit_code = numberAt(part, 'exit_code');
  const is_error = part.status === 'failed' || part.status === 'declined' || (exit_code !== null && exit_code !== 0);
  const failure = objectAt(part, 'error');
  const output = valueText(part.aggregated_output ?? (failure === null ? part.result : failure.message));
  return { type: 'tool_result', tool_id: nameAt(part, 'id'), is_error, output };
}

const KINDS = new Map<unknown, FileTouch['action']>([
  ['add', 'create'],
  ['update', 'modify'],
  ['delete', 'delete'],
]);

function changedFiles(part: JsonObject): FileTouch[] {
  const touches = objectsAt(part, 'changes').flatMap((change): FileTouch[] => {
    const path = textAt(change, 'path');
    if (path === null || !isPath(path)) return [];
    return [{ path, action: KINDS.get(change.kind) ?? 'touch' }];
  });
  return boundedTouches(touches);
}

/**
 * The counts speak of the whole thread, over all processes and forks. Codex counts cached input as input and
 * reasoning as output; here the five counts are disjoint, so that they can be added up.
 */
function turnCompleted(event: JsonObject): HarnessEvent[] {
  const usage = objectAt(event, 'usage');
  const done: HarnessEvent = { type: 'result', ok: true, reason: 'completed', text: '', model_turns: 1, denials: [] };
  if (usage === null) return [done];
  const cache_read_tokens = countAt(usage, 'cached_input_tokens');
  const cache_write_tokens = countAt(usage, 'cache_write_input_tokens');
  const reasoning_tokens = countAt(usage, 'reasoning_output_tokens');
  const tokens = {
    input_tokens: Math.max(0, countAt(usage, 'input_tokens') - cache_read_tokens - cache_write_tokens),
    output_tokens: Math.max(0, countAt(usage, 'output_tokens') - reasoning_tokens),
    cache_read_tokens,
    cache_write_tokens,
    reasoning_tokens,
  };
  return [{ type: 'usage', mode: 'thread', tokens }, done];
}

function turnFailed(event: JsonObject): HarnessEvent[] {
  const text = cutText(textAt(objectAt(event, 'error') ?? {}, 'message') ?? '');
  const limit = limitOf({ status: null, message: text, final: true });
  const end: HarnessEvent = { type: 'result', ok: false, reason: 'turn_failed', text, model_turns: null, denials: [] };
  return limit === null ? [end] : [{ type: 'limit', limit }, end];
}

/** "Reconnecting… n/5" and the like: Codex tries again by itself, and what ends the turn comes again in `turn.failed`. */
function errorEvent(event: JsonObject): HarnessEvent[] {
  const message = cutText(textAt(event, 'message') ?? '');
  const limit = limitOf({ status: null, message, final: false });
  const error: HarnessEvent = { type: 'error', message, fatal: false };
  return limit === null ? [error] : [{ type: 'limit', limit }, error];
}
