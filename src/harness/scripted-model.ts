/** What the contract probe's model says, whatever it is asked. */
const ANSWER = 'ok';
const MODEL = 'scripted';
const USAGE = { input: 100, output: 10 };

interface Reply {
  status: number;
  type: string;
  body: string;
}

interface Asked {
  method: string;
  path: string;
  body: string;
}

/**
 * A model that answers every question with one word, on the wires of all built-in harnesses: Anthropic Messages, OpenAI
 * Responses and Chat Completions, Gemini. Pure; `is_model_call` is false for what the CLIs ask beside (lists, counts).
 */
export function scriptedReply({ method, path, body }: Asked): Reply & { is_model_call: boolean } {
  if (method === 'POST') {
    const isStream = /"stream"\s*:\s*true/.test(body);
    if (path.endsWith('/messages')) return call(isStream ? events(messagesStream()) : json(message(CONTENT)));
    if (path.endsWith('/responses')) return call(isStream ? events(responsesStream()) : json(response([OUTPUT])));
    if (path.endsWith('/chat/completions'))
      return call(isStream ? `${frames(chatStream())}data: [DONE]\n\n` : json(chat()));
    if (path.endsWith(':streamGenerateContent')) return call(frames(geminiStream()));
    if (path.endsWith(':generateContent')) return call(json(gemini([{ text: ANSWER }], true)));
    if (path.endsWith(':countTokens')) return beside(json({ totalTokens: USAGE.input }));
    if (path.endsWith('/count_tokens')) return beside(json({ input_tokens: USAGE.input }));
  }
  if (method === 'HEAD') return beside('');
  if (path.endsWith('/models')) return beside(json({ object: 'list', data: [] }));
  return { ...beside(json({ error: { message: `the scripted model knows no ${path}` } })), status: 404 };
}

function call(body: string): Reply & { is_model_call: boolean } {
  const type = body.startsWith('{') ? 'application/json' : 'text/event-stream';
  return { status: 200, type, body, is_model_call: true };
}

function beside(body: string): Reply & { is_model_call: boolean } {
  return { status: 200, type: 'application/json', body, is_model_call: false };
}

const json = (value: unknown): string => JSON.stringify(value);

interface Json {
  [key: string]: unknown;
}

/** Server-sent events with data only. */
function frames(list: readonly Json[]): string {
  return list.map((data) => `data: ${json(data)}\n\n`).join('');
}

/** Server-sent events that are named like the `type` of their data. */
function events(list: readonly Json[]): string {
  return list.map((data) => `event: ${data.type}\ndata: ${json(data)}\n\n`).join('');
}

const CONTENT = [{ type: 'text', text: ANSWER }];

function message(content: readonly Json[]): Json {
  const usage = {
    input_tokens: USAGE.input,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: USAGE.output,
  };
  const head = { id: 'msg_1', type: 'message', role: 'assistant', model: MODEL };
  return { ...head, content, stop_reason: 'end_turn', stop_sequence: null, usage };
}

function messagesStream(): Json[] {
  return [
    { type: 'message_start', message: { ...message([]), stop_reason: null } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: ANSWER } },
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: USAGE.output },
    },
    { type: 'message_stop' },
  ];
}

const OUTPUT = {
  type: 'message',
  id: 'msg_1',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text: ANSWER, annotations: [] }],
};

function response(output: readonly Json[]): Json {
  const usage = {
    input_tokens: USAGE.input,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: USAGE.output,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: USAGE.input + USAGE.output,
  };
  return { id: 'resp_1', object: 'response', status: 'completed', model: MODEL, output, usage };
}

function responsesStream(): Json[] {
  const at = { item_id: OUTPUT.id, output_index: 0, content_index: 0 };
  return [
    { type: 'response.created', response: { ...response([]), status: 'in_progress', usage: null } },
    {
      type: 'response.output_item.added',
      output_index: 0,
      item: { ...OUTPUT, status: 'in_progress', content: [] },
    },
    { type: 'response.output_text.delta', ...at, delta: ANSWER },
    { type: 'response.output_item.done', output_index: 0, item: OUTPUT },
    { type: 'response.completed', response: response([OUTPUT]) },
  ];
}

const CHAT_USAGE = {
  prompt_tokens: USAGE.input,
  completion_tokens: USAGE.output,
  total_tokens: USAGE.input + USAGE.output,
};

function chunk(choices: readonly Json[]): Json {
  return { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_700_000_000, model: MODEL, choices };
}

function chatStream(): Json[] {
  return [
    chunk([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }]),
    chunk([{ index: 0, delta: { content: ANSWER }, finish_reason: null }]),
    chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]),
    { ...chunk([]), usage: CHAT_USAGE },
  ];
}

function chat(): Json {
  const message = { role: 'assistant', content: ANSWER };
  return { ...chunk([{ index: 0, message, finish_reason: 'stop' }]), object: 'chat.completion', usage: CHAT_USAGE };
}

function gemini(parts: readonly Json[], is_last: boolean): Json {
  return {
    candidates: [{ content: { role: 'model', parts }, index: 0, ...(is_last ? { finishReason: 'STOP' } : {}) }],
    usageMetadata: {
      promptTokenCount: USAGE.input,
      candidatesTokenCount: USAGE.output,
      totalTokenCount: USAGE.input + USAGE.output,
    },
    modelVersion: MODEL,
    responseId: 'resp-1',
  };
}

function geminiStream(): Json[] {
  return [gemini([{ text: ANSWER }], false), gemini([{ text: '' }], true)];
}
