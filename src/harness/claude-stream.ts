import type { HarnessEvent } from '../model/harness.ts';
import { UNKNOWN_SESSION } from '../model/turn.ts';
import { dollarsToMicros } from '../model/usage.ts';
import { answerText, cutText, nameAt, valueText } from './event-text.ts';
import { touchesOf } from './file-touch.ts';
import {
  asObject,
  countAt,
  type JsonObject,
  listAt,
  numberAt,
  objectAt,
  objectsAt,
  parseLine,
  textAt,
} from './json-line.ts';
import { httpStatus, limitOf, wholeMs } from './limit.ts';
import { quotaOf } from './quota.ts';

/** Event names of `--output-format stream-json` that are read for what they say, or known to say nothing of use. */
export const CLAUDE_EVENTS = [
  ...['system/init', 'system/api_retry', 'system/status', 'system/model_fallback', 'system/informational'],
  ...['system/notification', 'system/compact_boundary', 'system/model_refusal_no_fallback'],
  ...['system/hook_started', 'system/hook_response', 'system/thinking_tokens'],
  ...['system/task_started', 'system/task_progress', 'system/task_updated', 'system/task_notification'],
  ...['assistant', 'user', 'rate_limit_event', 'stream_event'],
  ...['result/success', 'result/error_max_turns', 'result/error_max_budget_usd', 'result/error_during_execution'],
];

/** One line of Claude Code's event stream (C-03). */
export function parseClaude(line: string): HarnessEvent[] | null {
  const event = parseLine(line);
  if (event === null) return null;
  switch (event.type) {
    case 'system':
      return system(event);
    case 'assistant':
      return assistant(event);
    case 'user':
      return toolResults(event);
    case 'result':
      return result(event);
    case 'rate_limit_event':
      return rateLimit(event);
    case 'stream_event':
      return [];
    default:
      return [custom(event)];
  }
}

function custom(event: JsonObject): HarnessEvent {
  const type = textAt(event, 'type') ?? '';
  const subtype = textAt(event, 'subtype');
  return { type: 'custom', name: cutText(subtype === null ? type : `${type}/${subtype}`, 128) };
}

function system(event: JsonObject): HarnessEvent[] {
  switch (event.subtype) {
    case 'init':
      return init(event);
    case 'api_retry':
      return [apiRetry(event)];
    case 'status':
      return [status('status', textAt(event, 'status') ?? '')];
    case 'model_fallback':
    case 'model_refusal_no_fallback':
    case 'informational':
    case 'compact_boundary':
      return [status(event.subtype, textAt(event, 'content') ?? '')];
    case 'notification':
      return [status('notification', textAt(event, 'text') ?? '')];
    case 'task_started':
    case 'task_notification':
      return [status(event.subtype, textAt(event, 'summary') ?? textAt(event, 'description') ?? '')];
    default:
      return SILENT.has(`system/${event.subtype}`) ? [] : [custom(event)];
  }
}

/** Known, and of no use to anybody but the person at a terminal. */
const SILENT = new Set([
  ...['system/hook_started', 'system/hook_response', 'system/thinking_tokens'],
  ...['system/task_progress', 'system/task_updated'],
]);

function status(name: string, detail: string): HarnessEvent {
  return { type: 'status', status: name, detail: cutText(detail) };
}

function init(event: JsonObject): HarnessEvent[] {
  const id = nameAt(event, 'session_id');
  if (id === null) return [custom(event)];
  const servers = objectsAt(event, 'mcp_servers');
  const failed = servers.filter((server) => textAt(server, 'status') === 'failed');
  return [
    {
      type: 'session',
      native_session_id: id,
      model: nameAt(event, 'model'),
      version: nameAt(event, 'claude_code_version'),
    },
    // A broken server never fails the run by itself, so it is said where the run begins.
    ...failed.map((server) => status('mcp_failed', textAt(server, 'name') ?? '')),
  ];
}

const RETRY_STATUS = new Map([
  ['authentication_failed', 401],
  ['billing_error', 402],
  ['rate_limit', 429],
  ['overloaded', 529],
  ['server_error', 500],
]);

/** The harness will try again by itself. Without a status it is the network (or a timeout). */
function apiRetry(event: JsonObject): HarnessEvent {
  const error = textAt(event, 'error') ?? '';
  const known = httpStatus(numberAt(event, 'error_status')) ?? RETRY_STATUS.get(error) ?? null;
  const attempt = `retry ${countAt(event, 'attempt')} of ${countAt(event, 'max_retries')}`;
  const retry_after_ms = wholeMs(numberAt(event, 'retry_delay_ms'));
  const message = `${error || 'no answer'} (${attempt})`;
  const limit = limitOf({ status: known, message, final: false, retry_after_ms });
  if (limit !== null) return { type: 'limit', limit };
  if (known !== null) return status('api_retry', `status ${known}: ${message}`);
  const network = { kind: 'network' as const, status: null, message: cutText(message), resets_at: null };
  return { type: 'limit', limit: { ...network, retry_after_ms, final: false } };
}

function assistant(event: JsonObject): HarnessEvent[] {
  const message = objectAt(event, 'message');
  if (message === null) return [custom(event)];
  // What a subagent says is not the session's answer, but the tools it uses do touch the files.
  const isSubagent = textAt(event, 'parent_tool_use_id') !== null;
  const events: HarnessEvent[] = [];
  for (const block of objectsAt(message, 'content')) {
    const said = contentBlock(block, isSubagent);
    if (said !== null) events.push(said);
  }
  const error = textAt(event, 'error');
  if (error !== null) events.push({ type: 'error', message: cutText(error), fatal: false });
  return events;
}

function contentBlock(block: JsonObject, isSubagent: boolean): HarnessEvent | null {
  switch (block.type) {
    case 'text': {
      const text = textAt(block, 'text') ?? '';
      if (text === '') return null;
      return isSubagent ? { type: 'reasoning', text: cutText(text) } : { type: 'text', text: answerText(text) };
    }
    case 'thinking':
      return { type: 'reasoning', text: cutText(textAt(block, 'thinking') ?? '') };
    case 'tool_use': {
      const tool = nameAt(block, 'name') ?? 'unknown';
      const input = objectAt(block, 'input');
      const files = touchesOf(tool, input);
      return { type: 'tool_use', tool, tool_id: nameAt(block, 'id'), input: valueText(input), files };
    }
    default:
      return null;
  }
}

function toolResults(event: JsonObject): HarnessEvent[] {
  const message = objectAt(event, 'message');
  const events: HarnessEvent[] = [];
  for (const block of message === null ? [] : objectsAt(message, 'content')) {
    if (block.type !== 'tool_result') continue;
    const output = valueText(flatContent(block.content));
    const is_error = block.is_error === true;
    events.push({ type: 'tool_result', tool_id: nameAt(block, 'tool_use_id'), is_error, output });
  }
  return events;
}

/** `[{type:'text', text}]` as its text; anything else as it is. */
function flatContent(content: unknown): unknown {
  if (!Array.isArray(content)) return content;
  const texts = content.map((each) => textAt(asObject(each) ?? {}, 'text'));
  return texts.every((text) => text !== null) ? texts.join('\n') : content;
}

/** Seconds of the epoch that are still a date. */
const MAX_SECONDS = 8_640_000_000_000;

/** The plan's windows. `rejected` is the limit itself unless paid overage carries on; the rest is news. */
function rateLimit(event: JsonObject): HarnessEvent[] {
  const info = objectAt(event, 'rate_limit_info');
  if (info === null) return [custom(event)];
  const state = textAt(info, 'status') ?? '';
  const window = textAt(info, 'rateLimitType') ?? 'unknown window';
  const seconds = numberAt(info, 'resetsAt');
  const resets_at = seconds === null || seconds <= 0 || seconds > MAX_SECONDS ? null : Math.round(seconds * 1000);
  if (state !== 'rejected' || info.isUsingOverage === true) {
    const said = { type: 'status' as const, status: 'rate_limit', detail: cutText(`${state} (${window})`) };
    const quota = quotaOf(window, 1 - (numberAt(info, 'utilization') ?? Number.NaN), resets_at);
    return [quota === null ? said : { ...said, quota }];
  }
  const message = cutText(`usage limit: ${window} rejected`);
  const limit = { kind: 'usage_limit' as const, status: 429, message, resets_at, retry_after_ms: null, final: true };
  return [{ type: 'limit', limit }];
}

/**
 * `is_error` beats `subtype`: an API failure ends as `success` with `is_error: true`. Success needs it to be `false`
 * and the turn not to be aborted.
 */
function result(event: JsonObject): HarnessEvent[] {
  const subtype = textAt(event, 'subtype') ?? '';
  const end = nameAt(event, 'terminal_reason') ?? '';
  const ok = event.is_error === false && subtype === 'success' && !end.startsWith('aborted');
  const errors = listAt(event, 'errors').filter((each) => typeof each === 'string');
  const said = textAt(event, 'result') ?? errors.join('\n');
  const text = ok ? answerText(said) : cutText(said);
  const events = spending(event);
  if (!ok) {
    const status = numberAt(event, 'api_error_status');
    const limit = subtype === 'success' ? limitOf({ status, message: text, final: true }) : null;
    if (limit !== null) events.push({ type: 'limit', limit });
  }
  const denials = objectsAt(event, 'permission_denials').flatMap((each) => nameAt(each, 'tool_name') ?? []);
  const reason = ok ? end || 'completed' : failureReason(subtype, end, text);
  events.push({ type: 'result', ok, reason, text, model_turns: countAt(event, 'num_turns'), denials });
  return events;
}

function failureReason(subtype: string, end: string, text: string): string {
  if (/no conversation found/i.test(text)) return UNKNOWN_SESSION;
  if (subtype !== 'success') return cutText(subtype.replace(/^error_/, '') || 'error', 128);
  return end === '' || end === 'completed' ? 'api_error' : cutText(end, 128);
}

/**
 * Tokens are per result; money is per process. A result that counts no tokens although the models were used (budget
 * stops, answers fetched again without streaming) falls back to the per-process totals of `modelUsage`.
 */
function spending(event: JsonObject): HarnessEvent[] {
  const events: HarnessEvent[] = [];
  const own = claudeTokens(objectAt(event, 'usage') ?? {}, SNAKE);
  if (isSpent(own)) events.push({ type: 'usage', mode: 'add', tokens: own });
  else {
    const models = Object.values(objectAt(event, 'modelUsage') ?? {}).map((each) => asObject(each) ?? {});
    const total = models.map((each) => claudeTokens(each, CAMEL)).reduce(sum, claudeTokens({}, CAMEL));
    if (isSpent(total)) events.push({ type: 'usage', mode: 'turn', tokens: total });
  }
  const dollars = numberAt(event, 'total_cost_usd');
  if (dollars !== null && dollars >= 0) {
    events.push({ type: 'cost', mode: 'turn', cost_micros: dollarsToMicros(Math.min(dollars, 1e9)) });
  }
  return events;
}

type Tokens = Extract<HarnessEvent, { type: 'usage' }>['tokens'];
const SNAKE = ['input_tokens', 'output_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens'] as const;
const CAMEL = ['inputTokens', 'outputTokens', 'cacheReadInputTokens', 'cacheCreationInputTokens'] as const;

function claudeTokens(from: JsonObject, [input, output, read, write]: typeof SNAKE | typeof CAMEL): Tokens {
  return {
    input_tokens: countAt(from, input),
    output_tokens: countAt(from, output),
    cache_read_tokens: countAt(from, read),
    cache_write_tokens: countAt(from, write),
    reasoning_tokens: 0,
  };
}

function sum(a: Tokens, b: Tokens): Tokens {
  const plus = (key: keyof Tokens) => Math.min(a[key] + b[key], Number.MAX_SAFE_INTEGER);
  return {
    input_tokens: plus('input_tokens'),
    output_tokens: plus('output_tokens'),
    cache_read_tokens: plus('cache_read_tokens'),
    cache_write_tokens: plus('cache_write_tokens'),
    reasoning_tokens: 0,
  };
}

function isSpent(tokens: Tokens): boolean {
  const { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens } = tokens;
  return input_tokens > 0 || output_tokens > 0 || cache_read_tokens > 0 || cache_write_tokens > 0;
}
