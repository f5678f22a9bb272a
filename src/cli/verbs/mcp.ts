import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { serveMcp } from '../mcp-server.ts';
import { examples, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command.action(() => serveMcp(context.deps));
    examples(command, ['{ "mcpServers": { "drover": { "command": "drover", "args": ["mcp"] } } }']);
  },
};
