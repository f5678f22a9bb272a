import type { Command } from 'commander';
import { pause } from '../../session/control.ts';
import { callerOf } from '../../session/identity.ts';
import { demandReach } from '../../session/reach.ts';
import { demand, demandPerson } from '../../session/rights.ts';
import type { Context } from '../context.ts';
import { outcomeLine, targets } from '../control.ts';
import { printJson } from '../output.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('[session...]', 'id, unique prefix, name, or latest')
      .option('--all', 'every live session of every repository')
      .option('--reason <text>', 'kept with the session', 'operator')
      .action((wanted: string[], options: { all?: boolean; reason: string }) => run(context, wanted, options));
    examples(command, ['drover pause build-1 --reason "waiting for the schema"', 'drover pause --all']);
    exitCodes(command, '0 held, 2 usage, 3 refused: it has ended, 4 no such session.');
  },
};

async function run(context: Context, wanted: string[], options: { all?: boolean; reason: string }): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  if (options.all) demandPerson(caller, 'pause every session');
  const rows = await targets(context, deps, wanted, options.all === true);
  await demandReach(deps, caller, 'stop', rows);
  const results = [];
  for (const row of rows) {
    results.push({ row, ended: await pause(deps, row, options.reason) });
  }
  if (results.some(({ ended }) => ended.open_turn !== null)) await wake(deps);
  if (context.globals.json) {
    printJson({
      paused: results.map(({ row, ended }) => ({
        id: row.id,
        name: row.name,
        changed: ended.changed,
        prev: ended.prev,
        state: ended.row.state,
      })),
    });
  } else for (const { row, ended } of results) console.log(outcomeLine(row, ended));
}
