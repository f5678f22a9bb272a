import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { anthropic, countTokens } from './model/anthropic.ts';
import { chat } from './model/chat.ts';
import { gemini } from './model/gemini.ts';
import type { ModelRequest } from './model/request.ts';
import { responses } from './model/responses.ts';
import {
  completeScenario,
  loadScenario,
  type Scenario,
  type ScenarioInput,
  Script,
  type Step,
  usageOf,
} from './model/scenario.ts';
import { valueFor } from './model/schema.ts';
import { cut, hang, sendJson, sendWhole } from './model/send.ts';
import { type Answer, asObject, type Wire } from './model/wire.ts';

export { loadScenario, type Scenario, type ScenarioInput };

/** Everything that one HTTP request said. Key values are not kept, only that there was one. */
export interface RecordedRequest {
  /** Counts from 0 in order of arrival. */
  index: number;
  method: string;
  path: string;
  query: string;
  headers: Record<string, string>;
  authorized: boolean;
  /** Parsed JSON; the text itself when it is none; `null` when empty. */
  body: unknown;
  /** What it asks of the model; `null` for anything but a request for an answer. */
  model: ModelRequest | null;
  /** Index of the step that answered; `null` for the default answer and for side requests. */
  step: number | null;
  /** `answered` once the last byte is out; `cut` when the script ended it; `gone` when the client left first. */
  outcome: 'pending' | 'answered' | 'cut' | 'gone';
}

/** A request for a model answer that took a step of the script (or the default answer). */
export type TurnRequest = RecordedRequest & { model: ModelRequest };

export interface ModelServer {
  /** `http://127.0.0.1:<port>`, without a path: some wires want `/v1` appended. */
  url: string;
  requests: RecordedRequest[];
  /** The requests that a person would count as model calls, in order. */
  turns(): TurnRequest[];
  /** Indices of steps that nobody has used yet. */
  unused(): number[];
  /**
   * The first request, past or future, that `predicate` accepts. It is asked again whenever a request arrives or its
   * outcome changes. Rejects after `limit_ms` (default 20 s) and says what came instead.
   */
  waitFor(predicate: (request: RecordedRequest) => boolean, limit_ms?: number): Promise<RecordedRequest>;
  /** Ends every connection, hanging ones included. */
  stop(): Promise<void>;
}

const SECRET_HEADERS = ['authorization', 'x-api-key', 'x-goog-api-key', 'cookie'];

/** Starts a scripted model on 127.0.0.1 that speaks the wires of all supported harnesses at once. */
export async function startModelServer(input: ScenarioInput): Promise<ModelServer> {
  const play = new Play(input);
  const server = createServer((request, response) => {
    play.handle(request, response).catch((error: unknown) => {
      play.broken = error;
      response.destroy();
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((ready, failed) => {
    server.once('error', failed);
    server.listen(0, '127.0.0.1', ready);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: play.requests,
    turns: () => play.requests.filter((request): request is TurnRequest => isTurn(request)),
    unused: () => play.script.unused(),
    waitFor: (predicate, limit_ms = 20_000) => play.waitFor(predicate, limit_ms),
    stop: () => stopServer(server, play),
  };
}

function isTurn(request: RecordedRequest): boolean {
  return request.model !== null && !request.model.side;
}

async function stopServer(server: Server, play: Play): Promise<void> {
  play.stopping.abort();
  const closed = new Promise<void>((done) => server.close(() => done()));
  server.closeAllConnections();
  await closed;
  if (play.broken) throw play.broken;
}

class Play {
  readonly requests: RecordedRequest[] = [];
  readonly script: Script;
  readonly stopping = new AbortController();
  /** A failure of the server itself; thrown by `stop()` so that it cannot pass unseen. */
  broken: unknown = null;
  private readonly watchers = new Set<() => void>();

  constructor(input: ScenarioInput) {
    this.script = new Script(input);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const record = await recordOf(request, this.requests);
    response.once('close', () => this.settle(record, response.writableFinished ? 'answered' : 'gone'));
    this.changed();
    const wire = wireOf(record);
    if (!wire) {
      sendPlain(record, response);
      return;
    }
    record.model = wire.read(record.path, asObject(record.body));
    if (record.model.side) {
      this.answerSide(wire, record.model, record, response);
      return;
    }
    const { step, index } = this.script.take(record.model);
    record.step = index;
    this.changed();
    await pause(step.delay_ms ?? 0, this.stopping.signal);
    if (response.destroyed) return;
    this.perform(step, wire, record, response);
  }

  waitFor(predicate: (request: RecordedRequest) => boolean, limit_ms: number): Promise<RecordedRequest> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.watchers.delete(look);
        reject(new Error(`no such request within ${limit_ms} ms; seen:\n${this.seen()}`));
      }, limit_ms);
      const look = () => {
        const found = this.requests.find(predicate);
        if (!found) return;
        clearTimeout(timer);
        this.watchers.delete(look);
        resolve(found);
      };
      this.watchers.add(look);
      look();
    });
  }

  private seen(): string {
    return this.requests.map((r) => `  ${r.method} ${r.path} step=${r.step} ${r.outcome}`).join('\n') || '  nothing';
  }

  private changed(): void {
    for (const look of [...this.watchers]) look();
  }

  private settle(record: RecordedRequest, outcome: 'answered' | 'gone'): void {
    if (record.outcome === 'pending') record.outcome = outcome;
    this.changed();
  }

  private answerSide(wire: Wire, request: ModelRequest, record: RecordedRequest, response: ServerResponse): void {
    const text = request.schema === undefined ? 'Scripted title' : JSON.stringify(valueFor(request.schema));
    const answer = answerOf({ kind: 'text', text }, request, record, this.script.scenario);
    sendWhole({ response, wire, request, answer, headers: {} });
  }

  private perform(step: Step, wire: Wire, record: RecordedRequest, response: ServerResponse): void {
    const request = record.model as ModelRequest;
    const headers = step.headers ?? {};
    if (step.kind === 'status') {
      const refusal = wire.refusal(step, Math.floor(Date.now() / 1000));
      sendJson(response, step.status, refusal.body, { ...refusal.headers, ...headers });
      return;
    }
    const answer = answerOf(step, request, record, this.script.scenario);
    const delivery = { response, wire, request, answer, headers };
    if (step.kind === 'cut') record.outcome = 'cut';
    if (step.kind === 'cut') cut(delivery, step.how);
    else if (step.kind === 'hang') hang(delivery, step.at ?? 'start');
    else sendWhole(delivery);
  }
}

async function recordOf(request: IncomingMessage, requests: RecordedRequest[]): Promise<RecordedRequest> {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  const sent = Object.entries(request.headers).map(([name, value]): [string, string] => [name, String(value)]);
  const keyed = url.searchParams.has('key');
  url.searchParams.delete('key');
  const record: RecordedRequest = {
    index: requests.length,
    method: request.method ?? '',
    path: url.pathname,
    query: url.search,
    headers: Object.fromEntries(sent.filter(([name]) => !SECRET_HEADERS.includes(name))),
    authorized: keyed || sent.some(([name]) => SECRET_HEADERS.includes(name)),
    body: null,
    model: null,
    step: null,
    outcome: 'pending',
  };
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  record.body = parsedBody(Buffer.concat(chunks).toString('utf8'));
  record.index = requests.push(record) - 1;
  return record;
}

function parsedBody(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

/** Which format asks for a model answer here; `null` for every other request. */
function wireOf(record: RecordedRequest): Wire | null {
  if (record.method !== 'POST') return null;
  if (record.path.endsWith('/messages')) return anthropic;
  if (record.path.endsWith('/responses')) return responses;
  if (record.path.endsWith('/chat/completions')) return chat;
  return /:(streamG|g)enerateContent$/.test(record.path) ? gemini : null;
}

function sendPlain(record: RecordedRequest, response: ServerResponse): void {
  if (record.method === 'HEAD') response.writeHead(200).end();
  else if (record.path.endsWith('/count_tokens')) sendJson(response, 200, countTokens(record.body));
  else if (record.path.endsWith(':countTokens')) sendJson(response, 200, { totalTokens: 100 });
  else if (record.path.endsWith('/models')) sendJson(response, 200, { object: 'list', data: [] });
  else sendJson(response, 404, { error: { message: `the scripted model knows no ${record.path}` } });
}

function answerOf(step: Step, model: ModelRequest, record: RecordedRequest, scenario: Scenario): Answer {
  return {
    serial: String(record.index + 1).padStart(4, '0'),
    model: model.model,
    text: ('text' in step ? step.text : undefined) ?? (step.kind === 'tools' ? '' : scenario.default_text),
    reasoning: ('reasoning' in step ? step.reasoning : undefined) ?? '',
    calls: step.kind === 'tools' ? step.calls : [],
    usage: usageOf(scenario, step),
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

if (import.meta.main) {
  const path = process.argv[2];
  const server = await startModelServer(path ? loadScenario(path) : completeScenario({}));
  console.log(server.url);
}
