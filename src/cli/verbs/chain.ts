import type { Command } from 'commander';
import { checkReservationId } from '../../model/reservation-machine.ts';
import { chainNode } from '../../model/reservation-output.ts';
import { actorChain } from '../../store/reservation-list.ts';
import { systemClock } from '../../sys/clock.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { renderChain } from '../render-reservation.ts';
import { examples, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<reservation>', 'session_id of a reservation')
      .action((session_id: string) => run(context, session_id));
    examples(command, ['drover chain agent-x7k2', 'drover chain agent-x7k2 --json']);
    command.addHelpText(
      'after',
      "\nWho started whom, by the harness's own keys, root first; empty when nobody has the id. Exit codes: 0 ok, 2 usage.",
    );
  },
};

async function run(context: Context, session_id: string): Promise<void> {
  checkReservationId(session_id);
  const store = await context.reader();
  const rows = store === null ? [] : await actorChain(store, session_id, systemClock.now());
  if (context.globals.json) return printJson({ chain: rows.map(chainNode) });
  console.log(renderChain(rows));
}
