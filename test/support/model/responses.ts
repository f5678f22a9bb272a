import { openaiRefusal } from './openai-error.ts';
import type { ModelRequest, SentText, ToolResult } from './request.ts';
import type { ToolCall } from './scenario.ts';
import type { Answer, Json, Wire } from './wire.ts';
import { asList, asText, contentText, frame, newestOf, pieces } from './wire.ts';

/** OpenAI Responses, as `codex` speaks it. */
export const responses: Wire = {
  id: 'responses',
  read(_path, body): ModelRequest {
    const input = asList(body.input);
    const texts = input.flatMap(itemTexts);
    return {
      wire: 'responses',
      model: asText(body.model),
      streaming: body.stream === true,
      side: false,
      system_text: asText(body.instructions),
      texts,
      newest_text: newestOf(texts),
      tool_names: asList(body.tools).flatMap(toolNames),
      tool_results: input.flatMap(toolResults),
      schema: undefined,
    };
  },
  stream(answer): string[] {
    const items = outputItems(answer);
    const created = { ...responseJson(answer, []), status: 'in_progress', usage: null };
    return [
      event({ type: 'response.created', response: created }),
      ...items.flatMap(itemFrames),
      event({ type: 'response.completed', response: responseJson(answer, items) }),
    ];
  },
  whole: (answer) => responseJson(answer, outputItems(answer)),
  refusal: openaiRefusal,
};

function event(data: Json): string {
  return frame(data, asText(data.type));
}

function itemTexts(item: Json): SentText[] {
  if (item.type === 'function_call_output' || item.type === 'custom_tool_call_output') {
    return [{ role: 'tool', text: outputText(item.output) }];
  }
  if (item.type === 'function_call' || item.type === 'custom_tool_call') return [{ role: 'assistant', text: '' }];
  if (item.type !== 'message' && item.role === undefined) return [];
  const role = item.role === 'assistant' ? 'assistant' : item.role === 'user' ? 'user' : 'system';
  return [{ role, text: contentText(item.content) }];
}

function outputText(output: unknown): string {
  return typeof output === 'string' || Array.isArray(output) ? contentText(output) : JSON.stringify(output ?? null);
}

function toolResults(item: Json): ToolResult[] {
  if (item.type !== 'function_call_output' && item.type !== 'custom_tool_call_output') return [];
  return [{ tool_id: asText(item.call_id), output: outputText(item.output), is_error: false }];
}

function toolNames(tool: Json): string[] {
  if (tool.type !== 'namespace') return [asText(tool.name) || asText(tool.type)];
  return asList(tool.tools).map((inner) => `${asText(tool.name)}/${asText(inner.name)}`);
}

function responseJson(answer: Answer, output: Json[]): Json {
  const { input, output: out, cache_read } = answer.usage;
  return {
    id: `resp_${answer.serial}`,
    object: 'response',
    status: 'completed',
    model: answer.model,
    output,
    usage: {
      input_tokens: input + cache_read,
      input_tokens_details: { cached_tokens: cache_read },
      output_tokens: out,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + cache_read + out,
    },
  };
}

function outputItems(answer: Answer): Json[] {
  const items: Json[] = [];
  if (answer.reasoning) {
    const summary = [{ type: 'summary_text', text: answer.reasoning }];
    items.push({ type: 'reasoning', id: `rs_${answer.serial}`, summary, encrypted_content: null });
  }
  if (answer.text || answer.calls.length === 0) {
    const content = [{ type: 'output_text', text: answer.text, annotations: [] }];
    items.push({ type: 'message', id: `msg_${answer.serial}`, role: 'assistant', status: 'completed', content });
  }
  for (const [index, call] of answer.calls.entries()) {
    const { args, ...name } = toolOf(call);
    items.push({
      type: 'function_call',
      id: `fc_${answer.serial}_${index}`,
      call_id: `call_${answer.serial}_${index}`,
      ...name,
      arguments: JSON.stringify(args),
      status: 'completed',
    });
  }
  return items;
}

function toolOf(call: ToolCall): { name: string; namespace?: string; args: Json } {
  switch (call.verb) {
    case 'write_file':
      return { name: 'exec_command', args: { cmd: addFilePatch(call.path, call.content) } };
    case 'shell':
      return { name: 'exec_command', args: { cmd: call.command, yield_time_ms: 20_000 } };
    case 'mcp':
      return { name: call.tool, namespace: `mcp__${call.server}`, args: call.args };
    case 'raw':
      return { name: call.name, args: call.args, ...(call.namespace ? { namespace: call.namespace } : {}) };
  }
}

/** The heredoc that the CLI takes for an edit of its own. The file always ends in a newline. */
function addFilePatch(path: string, content: string): string {
  const lines = content.replace(/\n$/, '').split('\n');
  const body = lines.map((line) => `+${line}`).join('\n');
  return `apply_patch <<'DROVER_PATCH'\n*** Begin Patch\n*** Add File: ${path}\n${body}\n*** End Patch\nDROVER_PATCH\n`;
}

function itemFrames(item: Json, output_index: number): string[] {
  const added = event({ type: 'response.output_item.added', output_index, item: opened(item) });
  const done = event({ type: 'response.output_item.done', output_index, item });
  const item_id = item.id;
  const text = item.type === 'message' ? contentText(item.content) : '';
  const deltas = pieces(text).map((delta) =>
    event({ type: 'response.output_text.delta', item_id, output_index, content_index: 0, delta }),
  );
  const summary = item.type === 'reasoning' ? contentText(item.summary) : '';
  const thoughts = pieces(summary).map((delta) =>
    event({ type: 'response.reasoning_summary_text.delta', item_id, output_index, summary_index: 0, delta }),
  );
  return [added, ...thoughts, ...deltas, done];
}

function opened(item: Json): Json {
  if (item.type === 'message') return { ...item, status: 'in_progress', content: [] };
  return item.type === 'reasoning' ? { ...item, summary: [] } : { ...item, status: 'in_progress', arguments: '' };
}
