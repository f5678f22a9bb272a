import { openaiRefusal } from './openai-error.ts';
import type { ModelRequest, SentText } from './request.ts';
import type { ToolCall } from './scenario.ts';
import type { Answer, Json, Wire } from './wire.ts';
import { asList, asObject, asText, contentText, frame, newestOf, pieces } from './wire.ts';

/** OpenAI Chat Completions, as `opencode` speaks it. */
export const chat: Wire = {
  id: 'chat',
  read(_path, body): ModelRequest {
    const messages = asList(body.messages);
    const system_text = messages
      .filter((message) => message.role === 'system' || message.role === 'developer')
      .map((message) => contentText(message.content))
      .join('\n');
    const texts = messages.flatMap(messageTexts);
    const tool_names = asList(body.tools).map((tool) => asText(asObject(tool.function).name));
    return {
      wire: 'chat',
      model: asText(body.model),
      streaming: body.stream === true,
      side: tool_names.length === 0 && /\btitle\b/i.test(system_text),
      system_text,
      texts,
      newest_text: newestOf(texts),
      tool_names,
      tool_results: messages
        .filter((message) => message.role === 'tool')
        .map((message) => ({
          tool_id: asText(message.tool_call_id),
          output: contentText(message.content),
          is_error: false,
        })),
      schema: undefined,
    };
  },
  stream(answer): string[] {
    const deltas: Json[] = [{ role: 'assistant', content: '' }];
    for (const part of pieces(answer.reasoning)) deltas.push({ reasoning_content: part });
    for (const part of pieces(answer.text)) deltas.push({ content: part });
    for (const [index, call] of toolCalls(answer).entries()) deltas.push({ tool_calls: [{ index, ...call }] });
    return [
      ...deltas.map((delta) => frame(chunk(answer, [{ index: 0, delta, finish_reason: null }]))),
      frame(chunk(answer, [{ index: 0, delta: {}, finish_reason: finishReason(answer) }])),
      frame({ ...chunk(answer, []), usage: usageJson(answer) }),
      'data: [DONE]\n\n',
    ];
  },
  whole(answer): Json {
    const calls = toolCalls(answer);
    const message = {
      role: 'assistant',
      content: answer.text,
      ...(answer.reasoning ? { reasoning_content: answer.reasoning } : {}),
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    };
    const choices = [{ index: 0, message, finish_reason: finishReason(answer) }];
    return { ...chunk(answer, choices), object: 'chat.completion', usage: usageJson(answer) };
  },
  refusal: openaiRefusal,
};

function messageTexts(message: Json): SentText[] {
  const text = contentText(message.content);
  switch (message.role) {
    case 'assistant':
    case 'tool':
    case 'user':
      return [{ role: message.role, text }];
    default:
      return [];
  }
}

function chunk(answer: Answer, choices: Json[]): Json {
  return {
    id: `chatcmpl-${answer.serial}`,
    object: 'chat.completion.chunk',
    created: 1_700_000_000,
    model: answer.model,
    choices,
  };
}

function finishReason(answer: Answer): string {
  return answer.calls.length > 0 ? 'tool_calls' : 'stop';
}

function usageJson({ usage }: Answer): Json {
  const prompt_tokens = usage.input + usage.cache_read;
  return {
    prompt_tokens,
    completion_tokens: usage.output,
    total_tokens: prompt_tokens + usage.output,
    prompt_tokens_details: { cached_tokens: usage.cache_read },
  };
}

function toolCalls(answer: Answer): Json[] {
  return answer.calls.map((call, index) => {
    const { name, args } = toolOf(call);
    const id = `call_${answer.serial}_${index}`;
    return { id, type: 'function', function: { name, arguments: JSON.stringify(args) } };
  });
}

function toolOf(call: ToolCall): { name: string; args: Json } {
  switch (call.verb) {
    case 'write_file':
      return { name: 'write', args: { filePath: call.path, content: call.content } };
    case 'shell':
      return { name: 'bash', args: { command: call.command, description: 'Run a command' } };
    case 'mcp':
      return { name: `${call.server}_${call.tool}`, args: call.args };
    case 'raw':
      return { name: call.name, args: call.args };
  }
}
