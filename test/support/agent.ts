import { afterAll } from 'bun:test';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { listen } from '../../src/sys/socket.ts';
import { PACKAGE_DIR, type TestStore } from './store.ts';

const DROVER = join(PACKAGE_DIR, 'bin/drover');

/** The environment of a person at a shell (`token` null) or of a session in its turn, made from nothing. */
export function environmentOf(world: TestStore, token: string | null): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: world.deps.env.HOME ?? '',
    TMPDIR: process.env.TMPDIR ?? '/tmp',
    TERM: 'dumb',
    LANG: 'C.UTF-8',
    DROVER_HOME: world.home,
    ...(token === null ? {} : { DROVER_TOKEN: token }),
  };
}

const closers: (() => unknown)[] = [];

// Registered here and not where something is opened: what `afterAll` gets inside of `beforeAll` runs at its end.
afterAll(async () => {
  for (const close of closers.splice(0)) await close();
});

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the real `bin/drover` on this store as a person or a session. */
export async function runAs(world: TestStore, token: string | null, args: string[], stdin?: string): Promise<Ran> {
  const child = Bun.spawn([DROVER, ...args], {
    cwd: world.deps.env.HOME ?? '/',
    env: environmentOf(world, token),
    stdin: stdin === undefined ? 'ignore' : new Blob([stdin]),
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

/** The same with `--json`, parsed. */
export async function jsonAs<T>(world: TestStore, token: string | null, args: string[], stdin?: string): Promise<T> {
  const ran = await runAs(world, token, [...args, '--json'], stdin);
  return JSON.parse(ran.stdout) as T;
}

/** Answers rings in place of a supervisor, so that none is started; `lines` is what was rung. */
export async function doorbell(world: TestStore): Promise<{ lines: string[] }> {
  const lines: string[] = [];
  const failures: unknown[] = [];
  const bell = await listen(
    homePaths.socket(world.home),
    (line) => {
      lines.push(line);
      return 'ok';
    },
    (error) => failures.push(error),
  );
  closers.push(() => {
    bell.close();
    if (failures.length > 0) throw failures[0];
  });
  return { lines };
}

interface ToolAnswer {
  isError: boolean;
  text: string;
}

interface Message {
  id?: number;
  result?: {
    content?: { text: string }[];
    isError?: boolean;
    tools?: { name: string; inputSchema: Record<string, unknown> }[];
  };
  error?: { code: number; message: string };
}

export interface McpClient {
  request(method: string, params?: object): Promise<Message>;
  call(name: string, input?: object): Promise<ToolAnswer>;
  /** Sends a line as it is, without waiting. */
  raw(line: string): void;
  /** Closes its standard input. */
  hangUp(): Promise<void>;
  /** Exit code, and everything it ever wrote to standard output, line by line. */
  ended(): Promise<{ code: number; lines: string[] }>;
}

/** Starts `drover mcp` the way a harness does, and says hello. */
export async function mcpClient(world: TestStore, token: string | null): Promise<McpClient> {
  const child = Bun.spawn([DROVER, 'mcp'], {
    cwd: world.deps.env.HOME ?? '/',
    env: environmentOf(world, token),
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const lines: string[] = [];
  const waiting = new Map<number, (message: Message) => void>();
  const reading = readLines(child.stdout, (line) => {
    lines.push(line);
    const message = JSON.parse(line) as Message;
    if (message.id !== undefined) waiting.get(message.id)?.(message);
  });
  let next = 0;
  const raw = (line: string) => {
    child.stdin.write(`${line}\n`);
    child.stdin.flush();
  };
  const request = (method: string, params: object = {}): Promise<Message> =>
    new Promise((resolve, reject) => {
      const id = ++next;
      waiting.set(id, resolve);
      void child.exited
        .then(() => reading)
        .then(() => reject(new Error(`the server ended before it answered ${method}`)));
      raw(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    });
  const client: McpClient = {
    request,
    raw,
    call: async (name, input = {}) => {
      const { result, error } = await request('tools/call', { name, arguments: input });
      if (result === undefined) throw new Error(`protocol error: ${JSON.stringify(error)}`);
      return { isError: result.isError === true, text: result.content?.map(({ text }) => text).join('\n') ?? '' };
    },
    hangUp: async () => {
      await child.stdin.end();
    },
    ended: async () => {
      const code = await child.exited;
      await reading;
      return { code, lines };
    },
  };
  closers.push(async () => {
    await client.hangUp();
    await client.ended();
  });
  await request('initialize', {
    protocolVersion: '2025-06-18',
    capabilities: {},
    clientInfo: { name: 'test', version: '1' },
  });
  raw(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }));
  return client;
}

async function readLines(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) onLine(line);
  }
  if (rest !== '') onLine(rest);
}
