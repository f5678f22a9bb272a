import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { serveMcp } from '../mcp-server.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command.action(() => serveMcp(context.deps));
    examples(command, ['{ "mcpServers": { "drover": { "command": "drover", "args": ["mcp"] } } }']);
    exitCodes(command, '0 when its input ends, 3 refused: its token is that of no turn that runs.');
  },
};
