import { type Command, Option } from 'commander';
import { AppError } from '../../model/error.ts';
import { reservationOutput } from '../../model/reservation-output.ts';
import { callerOf } from '../../session/identity.ts';
import { systemClock } from '../../sys/clock.ts';
import { repositoryAt } from '../../team/anchor.ts';
import { releasePaths } from '../../team/path-reservation.ts';
import { namedReservation, release } from '../../team/reservation.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { pathReservationJson, pathReservationLine, printEnvelope } from '../render-reservation.ts';
import { examples, type Verb } from '../verb.ts';

interface Options {
  session?: string;
  status?: 'complete' | 'abandoned';
  token?: string;
  path?: string[];
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    const collect = (value: string, before: string[] = []) => [...before, value];
    command
      .argument('[reservation...]', 'reservations of files, by id or pattern')
      .option('--session <id>', "of a thread: the reservation's session_id (default: your session's only one)")
      .addOption(new Option('--status <word>', 'of a thread: how it ended').choices(['complete', 'abandoned']))
      .option('--token <token>', 'the reservation_token that reserve printed')
      .option('--path <glob>', 'the pattern that was reserved; may be repeated', collect)
      .action((words: string[], options: Options) => run(context, words, options));
    examples(command, [
      'drover release --session agent-x7k2 --status complete',
      "drover release --path 'src/auth/**'",
      'drover release path-m3jq',
    ]);
    command.addHelpText(
      'after',
      `
Of a thread it prints the reservation as one line of JSON; the same status again changes nothing.
Exit codes: 0 ok, 2 usage, 3 it has ended in another way, or is not yours, 4 unknown.`,
    );
  },
};

async function run(context: Context, words: string[], options: Options): Promise<void> {
  const globs = [...words, ...(options.path ?? [])];
  if (globs.length === 0) return releaseThread(context, options);
  if (options.session !== undefined || options.status !== undefined || options.token !== undefined)
    throw new AppError('usage', 'usage', 'Release either files or a thread.', { preserved: 'nothing was released' });
  await releaseFiles(context, globs);
}

async function releaseThread(context: Context, options: Options): Promise<void> {
  const { status } = options;
  if (status === undefined)
    throw new AppError('usage', 'usage', 'How did it end? Give --status complete or --status abandoned.', {
      preserved: 'nothing was released',
    });
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const { row } = await release(deps, caller, await namedReservation(deps, caller, options), status);
  await printEnvelope(context, reservationOutput(row, null));
}

async function releaseFiles(context: Context, words: string[]): Promise<void> {
  const { root, main_root } = await repositoryAt(context.cwd);
  const deps = await context.deps();
  const rows = await releasePaths(deps, await callerOf(deps), { repo_root: main_root, root, words });
  if (context.globals.json) return printJson({ released: rows.map(pathReservationJson) });
  for (const row of rows) console.log(`released ${pathReservationLine(row, systemClock.now())}`);
}
