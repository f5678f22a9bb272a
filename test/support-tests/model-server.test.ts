import { afterEach, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { loadScenario, type ModelServer, type ScenarioInput, startModelServer } from '../support/model-server.ts';
import { tempDir } from '../support/temp.ts';

const running: ModelServer[] = [];

async function start(scenario: ScenarioInput): Promise<ModelServer> {
  const server = await startModelServer(scenario);
  running.push(server);
  return server;
}

afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
});

interface Sse {
  events: string[];
  data: Record<string, unknown>[];
}

function post(url: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const headers = { 'content-type': 'application/json', 'x-api-key': 'sk-dummy' };
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(body), ...(signal ? { signal } : {}) });
}

async function sse(response: Response): Promise<Sse> {
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const lines = (await response.text()).split('\n');
  const events = lines.filter((line) => line.startsWith('event: ')).map((line) => line.slice(7));
  const payloads = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6));
  return { events, data: payloads.filter((text) => text !== '[DONE]').map((text) => JSON.parse(text)) };
}

const claudeAsks = (text: string, more: object = {}) => ({
  model: 'claude-x',
  max_tokens: 1000,
  stream: true,
  system: [{ type: 'text', text: 'You are an agent.' }],
  messages: [{ role: 'user', content: [{ type: 'text', text }] }],
  tools: [{ name: 'Write' }, { name: 'Bash' }],
  ...more,
});

const ask = (server: ModelServer, text = 'hi', more: object = {}) =>
  post(`${server.url}/v1/messages?beta=true`, claudeAsks(text, more));

async function textOf(response: Response): Promise<string> {
  const { data } = await sse(response);
  return data.map((part) => (part.delta as { text?: string } | undefined)?.text ?? '').join('');
}

test('anthropic: a stream has the vendor’s order of events, text and usage', async () => {
  const server = await start({ steps: [{ kind: 'text', text: 'Grüße, all done', reasoning: 'hm' }] });
  const { events, data } = await sse(await ask(server));
  expect([...new Set(events)]).toEqual([
    'message_start',
    'content_block_start',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ]);
  const deltas = data.flatMap((part) => (part.delta ? [part.delta as Record<string, string>] : []));
  expect(deltas.map((delta) => delta.text ?? '').join('')).toBe('Grüße, all done');
  expect(deltas.map((delta) => delta.thinking ?? '').join('')).toBe('hm');
  expect(data[0]).toMatchObject({
    message: { model: 'claude-x', usage: { input_tokens: 100, cache_read_input_tokens: 5 } },
  });
  expect(data.at(-2)).toMatchObject({ delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 10 } });
});

test('anthropic: tool calls carry the CLI’s own names, streamed and whole', async () => {
  const calls = [
    { verb: 'write_file' as const, path: 'a.txt', content: 'x' },
    { verb: 'mcp' as const, server: 'team', tool: 'mail', args: { to: 'lead' } },
  ];
  const server = await start({ steps: [{ kind: 'tools', calls, times: 2 }] });
  const { data } = await sse(await ask(server));
  const json = data.map((part) => (part.delta as Record<string, string> | undefined)?.partial_json ?? '').join('');
  expect(json).toBe('{"file_path":"a.txt","content":"x"}{"to":"lead"}');
  const whole = (await (await ask(server, 'hi', { stream: false })).json()) as { content: unknown[] };
  expect(whole).toMatchObject({ stop_reason: 'tool_use', content: [{ name: 'Write' }, { name: 'mcp__team__mail' }] });
});

test('anthropic: probes and token counts take no step', async () => {
  const server = await start({ steps: [{ kind: 'text', text: 'first' }] });
  expect((await fetch(server.url, { method: 'HEAD' })).status).toBe(200);
  const counted = await post(`${server.url}/v1/messages/count_tokens?beta=true`, claudeAsks('hi'));
  expect(await counted.json()).toMatchObject({ input_tokens: expect.any(Number) });
  await ask(server, 'quota', { max_tokens: 1 });
  expect(await textOf(await ask(server))).toBe('first');
  expect(server.requests).toHaveLength(4);
  expect(server.turns()).toHaveLength(1);
});

test('responses: text, reasoning, a function call and usage with the cached part inside', async () => {
  const server = await start({
    usage: { input: 7, output: 3, cache_read: 2 },
    steps: [
      { kind: 'text', text: 'done', reasoning: 'why' },
      { kind: 'tools', calls: [{ verb: 'mcp', server: 'team', tool: 'mail', args: {} }] },
      { kind: 'tools', calls: [{ verb: 'write_file', path: 'a.txt', content: 'one\ntwo\n' }] },
    ],
  });
  const body = { model: 'm', stream: true, instructions: 'base', input: [{ role: 'user', content: 'hello' }] };
  const first = await sse(await post(`${server.url}/v1/responses`, body));
  expect(first.events[0]).toBe('response.created');
  expect(first.events.at(-1)).toBe('response.completed');
  const usage = { input_tokens: 9, input_tokens_details: { cached_tokens: 2 }, output_tokens: 3, total_tokens: 12 };
  expect(first.data.at(-1)).toMatchObject({
    response: { output: [{ type: 'reasoning' }, { type: 'message' }], usage },
  });
  const second = await sse(await post(`${server.url}/v1/responses`, body));
  expect(second.data.at(-1)).toMatchObject({ response: { output: [{ namespace: 'mcp__team', name: 'mail' }] } });
  const third = await (await post(`${server.url}/v1/responses`, { ...body, stream: false })).json();
  const args = JSON.parse((third as { output: { arguments: string }[] }).output[0]?.arguments ?? '');
  expect(args.cmd).toContain('*** Add File: a.txt\n+one\n+two\n*** End Patch');
});

test('chat: a title is asked without tools and takes no step; the real answer ends with [DONE]', async () => {
  const server = await start({ steps: [{ kind: 'tools', calls: [{ verb: 'shell', command: 'ls' }] }] });
  const url = `${server.url}/v1/chat/completions`;
  const title = { model: 'm', stream: true, messages: [{ role: 'system', content: 'You are a title generator.' }] };
  expect((await sse(await post(url, title))).data[1]).toMatchObject({ choices: [{ delta: { content: 'Scrip' } }] });
  const messages = [
    { role: 'system', content: 'agent' },
    { role: 'user', content: 'do it' },
  ];
  const tools = [{ type: 'function', function: { name: 'bash' } }];
  const body = await (await post(url, { model: 'm', stream: true, messages, tools })).text();
  expect(body).toContain('"name":"bash","arguments":"{\\"command\\":\\"ls\\"');
  expect(body).toContain('"finish_reason":"tool_calls"');
  expect(body).toContain('"usage":{"prompt_tokens":105,"completion_tokens":10');
  expect(body.endsWith('data: [DONE]\n\n')).toBe(true);
  expect(server.turns().map((turn) => turn.model.tool_names)).toEqual([['bash']]);
});

test('gemini: streams parts, and answers a question with a schema from the schema without a step', async () => {
  const server = await start({
    steps: [{ kind: 'tools', text: 'go', calls: [{ verb: 'write_file', path: 'a', content: 'b' }] }],
  });
  const model = `${server.url}/v1beta/models/gemini-x`;
  const schema = { type: 'OBJECT', properties: { model_choice: { type: 'STRING', enum: ['flash', 'pro'] } } };
  const asked = { contents: [], generationConfig: { responseSchema: schema } };
  const side = (await (await post(`${model}:generateContent`, asked)).json()) as {
    candidates: { content: { parts: { text: string }[] } }[];
  };
  expect(JSON.parse(side.candidates[0]?.content.parts.map((part) => part.text).join('') ?? '')).toEqual({
    model_choice: 'flash',
  });
  const contents = [{ role: 'user', parts: [{ text: 'do it' }] }];
  const { data } = await sse(await post(`${model}:streamGenerateContent?alt=sse&key=sk-dummy`, { contents }));
  expect(data.at(-1)).toMatchObject({
    candidates: [{ finishReason: 'STOP' }],
    usageMetadata: { promptTokenCount: 105, cachedContentTokenCount: 5, candidatesTokenCount: 10 },
  });
  expect(JSON.stringify(data)).toContain('"name":"write_file","args":{"file_path":"a","content":"b"}');
  expect(server.turns()[0]).toMatchObject({ query: '?alt=sse', authorized: true, model: { model: 'gemini-x' } });
});

test('steps are served in order, skipped until their condition holds, and then the default answers', async () => {
  const server = await start({
    default_text: 'over',
    steps: [
      { kind: 'text', text: 'after mail', when: { contains: 'mail' } },
      { kind: 'text', text: 'one' },
      { kind: 'text', text: 'two' },
    ],
  });
  expect(await textOf(await ask(server, 'hi'))).toBe('one');
  expect(server.unused()).toEqual([0, 2]);
  expect(await textOf(await ask(server, 'you have mail'))).toBe('after mail');
  expect(await textOf(await ask(server, 'you have mail'))).toBe('two');
  expect(await textOf(await ask(server, 'hi'))).toBe('over');
  expect(server.turns().map((turn) => turn.step)).toEqual([1, 0, 2, null]);
  expect(server.unused()).toEqual([]);
});

test('a condition on the conversation looks at old texts too, one on the newest does not', async () => {
  const server = await start({
    steps: [
      { kind: 'text', text: 'newest', when: { contains: 'alpha' }, times: 'forever' },
      { kind: 'text', text: 'conversation', when: { conversation_contains: 'alpha' }, times: 'forever' },
    ],
  });
  const messages = [
    { role: 'user', content: 'alpha' },
    { role: 'assistant', content: [{ type: 'tool_use', id: 't1', name: 'Bash', input: {} }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1', content: 'beta', is_error: true }] },
  ];
  expect(await textOf(await ask(server, '', { messages }))).toBe('conversation');
  expect(await textOf(await ask(server, '', { messages: messages.slice(0, 1) }))).toBe('newest');
});

test('what was sent is recorded, without the key', async () => {
  const server = await start({});
  const messages = [
    { role: 'user', content: 'write it' },
    { role: 'assistant', content: [{ type: 'tool_use', id: 't1', name: 'Write', input: {} }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1', content: 'written', is_error: true }] },
  ];
  await (await ask(server, '', { messages })).text();
  const [turn] = server.turns();
  expect(turn).toMatchObject({
    index: 0,
    method: 'POST',
    path: '/v1/messages',
    query: '?beta=true',
    authorized: true,
    model: {
      wire: 'anthropic',
      model: 'claude-x',
      system_text: 'You are an agent.',
      newest_text: 'written',
      tool_names: ['Write', 'Bash'],
      tool_results: [{ tool_id: 't1', output: 'written', is_error: true }],
    },
  });
  expect(JSON.stringify(server.requests)).not.toContain('sk-dummy');
  await server.waitFor((request) => request.outcome === 'answered');
});

test('a maker of steps sees the request it answers', async () => {
  const server = await start({ steps: [(request) => ({ kind: 'text', text: `heard ${request.newest_text}` })] });
  expect(await textOf(await ask(server, 'you'))).toBe('heard you');
});

test('an error answer has the provider’s shape, its headers, and as many times as told', async () => {
  const limit = { kind: 'status' as const, status: 429, headers: { 'retry-after': '3' } };
  const server = await start({
    steps: [
      { ...limit, times: 2 },
      { kind: 'status', status: 429, flavour: 'usage_limit', times: 'forever' },
    ],
  });
  const first = await ask(server);
  expect([first.status, first.headers.get('retry-after')]).toEqual([429, '3']);
  expect(await first.json()).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } });
  expect((await ask(server)).headers.get('retry-after')).toBe('3');
  const spent = await ask(server);
  expect(spent.headers.get('anthropic-ratelimit-unified-status')).toBe('rejected');
  const openai = await post(`${server.url}/v1/responses`, { model: 'm', stream: true, input: [] });
  const body = (await openai.json()) as { error: { type: string; resets_at: number } };
  expect(body.error.type).toBe('usage_limit_reached');
  expect(body.error.resets_at).toBeGreaterThan(1_700_000_000);
  const google = await post(`${server.url}/v1beta/models/g:streamGenerateContent?alt=sse`, { contents: [] });
  expect(await google.json()).toMatchObject({
    error: {
      status: 'RESOURCE_EXHAUSTED',
      details: [{ violations: [{ quotaId: expect.stringContaining('PerDay') }] }, {}],
    },
  });
});

test('a hanging request is never answered, shows when its client leaves, and does not keep stop() waiting', async () => {
  const server = await start({
    steps: [
      { kind: 'hang', times: 1 },
      { kind: 'hang', at: 'headers' },
      { kind: 'hang', at: 'middle', text: 'abcdef' },
    ],
  });
  const leave = new AbortController();
  const first = post(`${server.url}/v1/messages`, claudeAsks('hi'), leave.signal).catch((error: Error) => error.name);
  await server.waitFor((request) => request.step === 0);
  leave.abort();
  expect(await first).toBe('AbortError');
  await server.waitFor((request) => request.step === 0 && request.outcome === 'gone');
  expect((await ask(server)).status).toBe(200);
  const reader = (await ask(server)).body?.getReader();
  expect(new TextDecoder().decode((await reader?.read())?.value)).toContain('"text":"ab"');
  expect(server.requests.map((request) => request.outcome)).toEqual(['gone', 'pending', 'pending']);
});

/** The raw bytes of an answer, and how the connection ended: in order, or with an error code. */
function rawAsk(server: ModelServer): Promise<{ got: string; end: string }> {
  const body = JSON.stringify(claudeAsks('hi'));
  const head = `POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n`;
  return new Promise((resolve) => {
    let got = '';
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1', () => socket.write(head + body));
    socket.on('data', (chunk) => {
      got += chunk.toString();
    });
    socket.on('end', () => resolve({ got, end: 'FIN' }));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve({ got, end: error.code ?? 'error' }));
  });
}

for (const [how, end, terminated] of [
  ['end', 'FIN', true],
  ['fin', 'FIN', false],
  ['rst', 'ECONNRESET', false],
] as const) {
  test(`a cut by ${how} delivers half of the text and then ends the connection that way`, async () => {
    const server = await start({ steps: [{ kind: 'cut', how, text: 'abcdefghi' }] });
    const raw = await rawAsk(server);
    expect(raw.got).toContain('"text":"abc"');
    expect(raw.got).not.toContain('"text":"ghi"');
    expect(raw.got).not.toContain('message_stop');
    expect(raw.end).toBe(end);
    expect(raw.got.endsWith('0\r\n\r\n')).toBe(terminated);
    expect(server.requests[0]?.outcome).toBe('cut');
  });
}

test('a delay holds the answer back, and stop() does not wait for it', async () => {
  const server = await start({ steps: [{ kind: 'text', text: 'late', delay_ms: 60_000 }] });
  const asked = ask(server).catch((error: Error) => error);
  await server.waitFor((request) => request.step === 0);
  expect(server.requests[0]?.outcome).toBe('pending');
  await server.stop();
  expect(await asked).toBeInstanceOf(Error);
});

test('waitFor gives up with a list of what came instead', async () => {
  const server = await start({});
  await (await ask(server)).text();
  const waiting = server.waitFor((request) => request.path === '/nothing', 20);
  await expect(waiting).rejects.toThrow(/no such request within 20 ms; seen:\n {2}POST \/v1\/messages/);
});

test('a scenario file is checked and its holes are filled, quotes and newlines included', () => {
  const content = 'say "hi"\n';
  const scenario = loadScenario('write-file', { path: 'a.txt', content });
  expect(scenario.steps[0]).toMatchObject({ calls: [{ path: 'a.txt', content }] });
  expect(scenario.usage).toEqual({ input: 100, output: 10, cache_read: 5 });
  expect(() => loadScenario('write-file', { path: 'a.txt' })).toThrow('nothing given for {{content}}');
  const wrong = join(tempDir(), 'wrong.json');
  writeFileSync(wrong, '{"steps":[{"kind":"text","txt":"x"}]}');
  expect(() => loadScenario(wrong)).toThrow('steps');
});
