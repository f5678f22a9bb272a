import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { reservationOutput } from '../../model/reservation-output.ts';
import { parseMetadata, type ReservationMetadata } from '../../model/reservation-schema.ts';
import { callerOf } from '../../session/identity.ts';
import { heartbeat, namedReservation } from '../../team/reservation.ts';
import type { Context } from '../context.ts';
import { printEnvelope } from '../render-reservation.ts';
import { examples, type Verb } from '../verb.ts';

interface Options {
  session?: string;
  token?: string;
  metadata?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .option('--session <id>', "the reservation's session_id (default: your session's only one)")
      .option('--token <token>', 'the reservation_token that reserve printed')
      .option('--metadata <json>', 'what there is to know of the agent: model, harness, input_tokens, …')
      .action((options: Options) => run(context, options));
    examples(command, [
      'drover heartbeat --session agent-x7k2',
      `drover heartbeat --session agent-x7k2 --metadata '{"model":"opus","input_tokens":42}'`,
    ]);
    command.addHelpText(
      'after',
      '\nPrints the reservation as one line of JSON. Exit codes: 0 ok, 2 usage, 3 not active any more, or not yours, 4 unknown.',
    );
  },
};

async function run(context: Context, options: Options): Promise<void> {
  const metadata = options.metadata === undefined ? {} : metadataOf(options.metadata);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const row = await heartbeat(deps, caller, await namedReservation(deps, caller, options), metadata);
  await printEnvelope(context, reservationOutput(row, null));
}

function metadataOf(json: string): ReservationMetadata {
  const parsed = parseMetadata(json);
  if (!('problem' in parsed)) return parsed;
  throw new AppError('usage', 'metadata_invalid', `The metadata cannot be used: ${parsed.problem}`, {
    preserved: 'nothing was changed',
  });
}
