import type { Command } from 'commander';
import { resume } from '../../session/control.ts';
import { callerOf } from '../../session/identity.ts';
import { demand } from '../../session/rights.ts';
import { listSessions } from '../../store/session.ts';
import type { Context } from '../context.ts';
import { outcomeLine, targets } from '../control.ts';
import { printJson } from '../output.ts';
import { examples, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Options {
  all?: boolean;
  text?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('[session...]', 'id, unique prefix, name, or latest')
      .option('--all', 'every parked session')
      .option('--text <text>', 'what to tell it')
      .action((wanted: string[], options: Options) => run(context, wanted, options));
    examples(command, [
      'drover resume build-1',
      'drover resume build-1 --text "use the staging database"',
      'drover resume --all',
    ]);
  },
};

async function run(context: Context, wanted: string[], options: Options): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  const rows = options.all
    ? await listSessions(deps.store, { states: ['parked'] })
    : await targets(context, deps, wanted, false);
  const results = [];
  for (const row of rows) results.push({ row, ended: await resume(deps, caller, row, options.text) });
  if (results.some(({ ended }) => ended.changed)) await wake(deps);
  if (context.globals.json) {
    printJson({
      resumed: results.map(({ row, ended }) => ({
        id: row.id,
        name: row.name,
        changed: ended.changed,
        prev: ended.prev,
        state: ended.row.state,
      })),
    });
  } else if (results.length === 0) console.log('nothing is parked');
  else for (const { row, ended } of results) console.log(outcomeLine(row, ended));
}
