import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { CallToolRequestSchema, type CallToolResult, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import manifest from '../../package.json' with { type: 'json' };
import { AppError } from '../model/error.ts';
import type { Deps } from '../session/deps.ts';
import { systemClock } from '../sys/clock.ts';
import { callTool, TOOLS } from './mcp-tools.ts';

/**
 * The MCP server of one turn, on standard input and output (ARCHITECTURE §6): the same use cases and rights as the
 * command line, by the token of this process's environment. Resolves when the client has closed its end and every call
 * has been answered. The store is opened by the first call, so that a start costs a turn nothing.
 *
 * The low-level server of the SDK is used on purpose: a wrong input has to come back as one of our typed errors.
 */
export async function serveMcp(open: () => Promise<Deps>): Promise<void> {
  const server = new Server({ name: 'drover', version: manifest.version }, { capabilities: { tools: {} } });
  const calls = new Set<Promise<CallToolResult>>();
  let opened: Promise<Deps> | null = null;
  const deps = () => {
    opened ??= open().catch((error: unknown) => {
      // The next call tries again.
      opened = null;
      throw error;
    });
    return opened;
  };
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: TOOLS.map(listed) }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
    const call = answer(deps, params.name, params.arguments);
    calls.add(call);
    void call.finally(() => calls.delete(call));
    return call;
  });
  const ended = clientGone();
  await server.connect(new StdioServerTransport());
  await ended;
  // What was read last has to reach its handler, and every answer the stream, before closing drops both.
  do {
    await Promise.all(calls);
    await systemClock.sleep(1);
  } while (calls.size > 0);
  await server.close();
}

function listed({ name, description, input }: (typeof TOOLS)[number]) {
  const { $schema: _schema, ...schema } = z.toJSONSchema(input, { io: 'input' });
  return { name, description, inputSchema: { ...schema, type: 'object' as const } };
}

/** Never rejects: what goes wrong is the tool's answer. */
async function answer(deps: () => Promise<Deps>, name: string, input: unknown): Promise<CallToolResult> {
  try {
    return { content: [{ type: 'text', text: await callTool(await deps(), name, input) }] };
  } catch (error) {
    return { isError: true, content: [{ type: 'text', text: errorText(error) }] };
  }
}

function errorText(error: unknown): string {
  if (!(error instanceof AppError)) {
    console.error(error);
    return `error [internal]: This is a bug in drover: ${error instanceof Error ? error.message : error}`;
  }
  const { hint, preserved, recovery_commands = [] } = error.details;
  const lines = [`error [${error.code}]: ${error.message}`];
  if (hint) lines.push(`hint: ${hint}`);
  if (preserved) lines.push(`safe: ${preserved}`);
  for (const command of recovery_commands) lines.push(`try: ${command}`);
  return lines.join('\n');
}

/** The client closed its end, or reads no answers any more. */
function clientGone(): Promise<void> {
  return new Promise((resolve) => {
    const gone = () => resolve();
    process.stdin.once('end', gone).once('close', gone);
    process.stdout.on('error', gone);
  });
}
