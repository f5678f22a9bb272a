import type { ModelRequest, SentText, ToolResult } from './request.ts';
import type { StatusStep, ToolCall } from './scenario.ts';
import type { Answer, Json, Refusal, Wire } from './wire.ts';
import { asList, asObject, asText, frame, newestOf, pieces } from './wire.ts';

const STATUS_NAMES: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
};

/** Gemini `generateContent` and `streamGenerateContent`. */
export const gemini: Wire = {
  id: 'gemini',
  read(path, body): ModelRequest {
    const contents = asList(body.contents);
    const texts = contents.flatMap(contentTexts);
    const config = asObject(body.generationConfig);
    const schema = config.responseJsonSchema ?? config.responseSchema;
    return {
      wire: 'gemini',
      model: /\/models\/([^:/]+):/.exec(path)?.[1] ?? '',
      streaming: path.includes(':streamGenerateContent'),
      side: schema !== undefined,
      system_text: partsText(asObject(body.systemInstruction).parts),
      texts,
      newest_text: newestOf(texts),
      tool_names: asList(body.tools).flatMap((tool) => asList(tool.functionDeclarations).map((fn) => asText(fn.name))),
      tool_results: contents.flatMap(toolResults),
      schema,
    };
  },
  stream(answer): string[] {
    const parts = answerParts(answer);
    const frames = parts.map((part) => frame(chunk(answer, [part], {})));
    return [...frames, frame(chunk(answer, [{ text: '' }], { finishReason: 'STOP' }))];
  },
  whole: (answer) => chunk(answer, answerParts(answer), { finishReason: 'STOP' }),
  refusal,
};

function contentTexts(content: Json): SentText[] {
  const role = content.role === 'model' ? 'assistant' : 'user';
  return asList(content.parts).flatMap((part): SentText[] => {
    if (part.functionResponse) return [{ role: 'tool', text: responseText(part.functionResponse) }];
    if (part.functionCall) return [{ role: 'assistant', text: '' }];
    return typeof part.text === 'string' ? [{ role, text: part.text }] : [];
  });
}

function responseText(functionResponse: unknown): string {
  const response = asObject(asObject(functionResponse).response);
  const said = response.output ?? response.error;
  return typeof said === 'string' ? said : JSON.stringify(response);
}

function toolResults(content: Json): ToolResult[] {
  return asList(content.parts)
    .filter((part) => part.functionResponse)
    .map((part) => {
      const functionResponse = asObject(part.functionResponse);
      return {
        tool_id: asText(functionResponse.id) || asText(functionResponse.name),
        output: responseText(functionResponse),
        is_error: asObject(functionResponse.response).error !== undefined,
      };
    });
}

function partsText(parts: unknown): string {
  return asList(parts)
    .map((part) => asText(part.text))
    .join('\n');
}

function chunk(answer: Answer, parts: Json[], more: Json): Json {
  const { input, output, cache_read } = answer.usage;
  return {
    candidates: [{ content: { role: 'model', parts }, index: 0, ...more }],
    usageMetadata: {
      promptTokenCount: input + cache_read,
      candidatesTokenCount: output,
      cachedContentTokenCount: cache_read,
      totalTokenCount: input + cache_read + output,
    },
    modelVersion: answer.model,
    responseId: `resp-${answer.serial}`,
  };
}

function answerParts(answer: Answer): Json[] {
  const thoughts = answer.reasoning ? [{ text: answer.reasoning, thought: true }] : [];
  const texts = pieces(answer.text).map((text) => ({ text }));
  const calls = answer.calls.map((call, index) => ({
    functionCall: { id: `call_${answer.serial}_${index}`, ...toolOf(call) },
  }));
  return [...thoughts, ...texts, ...calls];
}

function toolOf(call: ToolCall): { name: string; args: Json } {
  switch (call.verb) {
    case 'write_file':
      return { name: 'write_file', args: { file_path: call.path, content: call.content } };
    case 'shell':
      return { name: 'run_shell_command', args: { command: call.command, description: 'Run a command' } };
    case 'mcp':
      return { name: `mcp_${call.server}_${call.tool}`, args: call.args };
    case 'raw':
      return { name: call.name, args: call.args };
  }
}

function refusal(step: StatusStep): Refusal {
  const status = STATUS_NAMES[step.status] ?? 'UNKNOWN';
  const message = step.message ?? defaultMessage(step, status);
  return { body: { error: { code: step.status, message, status, details: details(step) } }, headers: {} };
}

function defaultMessage(step: StatusStep, status: string): string {
  if (step.flavour && step.flavour !== 'plain') {
    return 'You exceeded your current quota, please check your plan and billing details.';
  }
  return step.status === 401 ? 'API key not valid. Please pass a valid API key.' : `scripted ${status}`;
}

function details(step: StatusStep): Json[] {
  if (step.status !== 429) return [];
  const spent = step.flavour !== undefined && step.flavour !== 'plain';
  const quotaId = `GenerateRequestsPer${spent ? 'Day' : 'Minute'}PerProjectPerModel-FreeTier`;
  const violations = [{ quotaMetric: 'generativelanguage.googleapis.com/generate_content_requests', quotaId }];
  const retryDelay = `${step.resets_in_s ?? (spent ? 3600 : 1)}s`;
  return [
    { '@type': 'type.googleapis.com/google.rpc.QuotaFailure', violations },
    { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay },
  ];
}
