import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import type { Context } from '../context.ts';
import { follow } from '../follow.ts';
import { lookUp } from '../sessions.ts';
import { examples, exitCode, exitCodes, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<session...>', 'id, unique prefix, name, or latest')
      .option('--any', 'return when the first one is over')
      .option('--follow', 'show the events meanwhile')
      .action(async (wanted: string[], options: { any?: boolean; follow?: boolean }) => {
        const store = await context.reader();
        const rows = [];
        for (const word of wanted) rows.push(await lookUp(context, store, word, 'newest'));
        if (store === null) throw new AppError('not_found', 'session_not_found', 'Nothing was ever slung here.');
        exitCode.code = await follow(context, store, rows, {
          any: options.any === true,
          events: options.follow === true,
        });
      });
    examples(command, ['drover wait latest', 'drover wait build-1 build-2 --any', 'drover wait nightly && echo done']);
    exitCodes(
      command,
      '0 completed or at rest, 1 failed, stopped or died, 2 usage, 4 no such session, 75 parked or waiting for an answer,\n130 interrupted: the session goes on.',
    );
  },
};
