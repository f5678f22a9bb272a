import type { Command } from 'commander';
import { agentApiSchema } from '../../model/reservation-schema.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command.action(() => {
      const schemas = agentApiSchema();
      if (context.globals.json) printJson(schemas);
      else console.log(JSON.stringify(schemas, null, 2));
    });
    examples(command, ['drover schema', 'drover schema | jq .AgentReservationOutput']);
    exitCodes(command, '0 printed.');
    command.addHelpText(
      'after',
      '\nJSON Schema of what the reservation verbs answer, by name. Under --json their answers also have schema_version and ok.',
    );
  },
};
