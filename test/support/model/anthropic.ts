import type { ModelRequest, SentText, ToolResult } from './request.ts';
import type { StatusStep, ToolCall } from './scenario.ts';
import type { Answer, Json, Refusal, Wire } from './wire.ts';
import { asList, asObject, asText, contentText, frame, newestOf, pieces } from './wire.ts';

const ERROR_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

/** Anthropic Messages, as `claude` speaks it. */
export const anthropic: Wire = {
  id: 'anthropic',
  read(_path, body): ModelRequest {
    const texts = asList(body.messages).flatMap(messageTexts);
    return {
      wire: 'anthropic',
      model: asText(body.model),
      streaming: body.stream === true,
      side: body.max_tokens === 1,
      system_text: contentText(body.system),
      texts,
      newest_text: newestOf(texts),
      tool_names: asList(body.tools).map((tool) => asText(tool.name)),
      tool_results: asList(body.messages).flatMap(toolResults),
      schema: undefined,
    };
  },
  stream(answer): string[] {
    const usage = usageJson(answer);
    const message = { ...messageJson(answer, []), stop_reason: null, usage: { ...usage, output_tokens: 1 } };
    const blocks = contentBlocks(answer).flatMap((block, index) => blockFrames(block, index));
    const delta = { stop_reason: stopReason(answer), stop_sequence: null };
    return [
      frame({ type: 'message_start', message }, 'message_start'),
      ...blocks,
      frame({ type: 'message_delta', delta, usage: { output_tokens: answer.usage.output } }, 'message_delta'),
      frame({ type: 'message_stop' }, 'message_stop'),
    ];
  },
  whole: (answer) => messageJson(answer, contentBlocks(answer)),
  refusal,
};

function messageTexts(message: Json): SentText[] {
  const role = message.role === 'assistant' ? 'assistant' : message.role === 'system' ? 'system' : 'user';
  if (typeof message.content === 'string') return [{ role, text: message.content }];
  return asList(message.content).flatMap((part): SentText[] => {
    if (part.type === 'tool_result') return [{ role: 'tool', text: contentText(part.content) }];
    if (part.type === 'tool_use') return [{ role: 'assistant', text: '' }];
    return part.type === 'text' ? [{ role, text: asText(part.text) }] : [];
  });
}

function toolResults(message: Json): ToolResult[] {
  return asList(message.content)
    .filter((part) => part.type === 'tool_result')
    .map((part) => ({
      tool_id: asText(part.tool_use_id),
      output: contentText(part.content),
      is_error: part.is_error === true,
    }));
}

function messageJson(answer: Answer, content: Json[]): Json {
  return {
    id: `msg_${answer.serial}`,
    type: 'message',
    role: 'assistant',
    model: answer.model,
    content,
    stop_reason: stopReason(answer),
    stop_sequence: null,
    usage: usageJson(answer),
  };
}

function usageJson({ usage }: Answer): Json {
  return {
    input_tokens: usage.input,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: usage.cache_read,
    output_tokens: usage.output,
    service_tier: 'standard',
  };
}

function stopReason(answer: Answer): string {
  return answer.calls.length > 0 ? 'tool_use' : 'end_turn';
}

function contentBlocks(answer: Answer): Json[] {
  const blocks: Json[] = [];
  if (answer.reasoning) blocks.push({ type: 'thinking', thinking: answer.reasoning, signature: 'c2lnbmVk' });
  if (answer.text) blocks.push({ type: 'text', text: answer.text });
  for (const [index, call] of answer.calls.entries()) {
    blocks.push({ type: 'tool_use', id: `toolu_${answer.serial}_${index}`, ...toolOf(call) });
  }
  return blocks;
}

function toolOf(call: ToolCall): { name: string; input: Json } {
  switch (call.verb) {
    case 'write_file':
      return { name: 'Write', input: { file_path: call.path, content: call.content } };
    case 'shell':
      return { name: 'Bash', input: { command: call.command, description: 'Run a command' } };
    case 'mcp':
      return { name: `mcp__${call.server}__${call.tool}`, input: call.args };
    case 'raw':
      return { name: call.name, input: call.args };
  }
}

function blockFrames(block: Json, index: number): string[] {
  const deltas = blockDeltas(block);
  return [
    frame({ type: 'content_block_start', index, content_block: emptied(block) }, 'content_block_start'),
    ...deltas.map((delta) => frame({ type: 'content_block_delta', index, delta }, 'content_block_delta')),
    frame({ type: 'content_block_stop', index }, 'content_block_stop'),
  ];
}

function emptied(block: Json): Json {
  if (block.type === 'thinking') return { ...block, thinking: '', signature: '' };
  return block.type === 'text' ? { ...block, text: '' } : { ...block, input: {} };
}

function blockDeltas(block: Json): Json[] {
  if (block.type === 'text') return pieces(asText(block.text)).map((text) => ({ type: 'text_delta', text }));
  if (block.type === 'tool_use') {
    return pieces(JSON.stringify(block.input)).map((json) => ({ type: 'input_json_delta', partial_json: json }));
  }
  const thinking = pieces(asText(block.thinking)).map((text) => ({ type: 'thinking_delta', thinking: text }));
  return [...thinking, { type: 'signature_delta', signature: block.signature }];
}

function refusal(step: StatusStep, now_s: number): Refusal {
  const flavour = step.flavour ?? 'plain';
  const type = ERROR_TYPES[step.status] ?? 'api_error';
  const error = { type, message: step.message ?? defaultMessage(step, type) };
  const limited = flavour === 'usage_limit' || flavour === 'quota';
  return {
    body: { type: 'error', error, request_id: 'req_scripted' },
    headers: limited ? unifiedLimitHeaders(now_s + (step.resets_in_s ?? 3600)) : {},
  };
}

function defaultMessage(step: StatusStep, type: string): string {
  if (step.flavour === 'credit') return 'Your credit balance is too low to access the Anthropic API.';
  if (step.flavour === 'usage_limit' || step.flavour === 'quota') {
    return "This request would exceed your account's rate limit. Please try again later.";
  }
  if (step.status === 401) return 'invalid x-api-key';
  return step.status === 529 ? 'Overloaded' : `scripted ${type}`;
}

/** What the vendor sends when a subscription's window is used up. */
function unifiedLimitHeaders(reset_s: number): Record<string, string> {
  return {
    'anthropic-ratelimit-unified-status': 'rejected',
    'anthropic-ratelimit-unified-reset': String(reset_s),
    'anthropic-ratelimit-unified-representative-claim': 'five_hour',
    'anthropic-ratelimit-unified-5h-status': 'rejected',
    'anthropic-ratelimit-unified-5h-reset': String(reset_s),
    'anthropic-ratelimit-unified-fallback': 'unavailable',
  };
}

/** Answer to `/v1/messages/count_tokens`. */
export function countTokens(body: unknown): unknown {
  return { input_tokens: Math.ceil(JSON.stringify(asObject(body)).length / 4) };
}
