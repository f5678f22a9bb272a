import type { Command } from 'commander';
import { pause } from '../../session/control.ts';
import { whyNotPause } from '../../session/control-checks.ts';
import { callerOf } from '../../session/identity.ts';
import { demandReach } from '../../session/reach.ts';
import { demand, demandPerson } from '../../session/rights.ts';
import type { Context } from '../context.ts';
import { outcomeLine, targets } from '../control.ts';
import { doneOf, eachOf, failedJson, refuseFirst, tellFailed, throwOnly, worstCode } from '../each.ts';
import { printJson } from '../output.ts';
import { examples, exitCode, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Options {
  all?: boolean;
  reason: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('[session...]', 'id, unique prefix, name, or latest')
      .option('--all', 'every live session of every repository')
      .option('--reason <text>', 'kept with the session', 'operator')
      .action(async (wanted: string[], options: Options) => {
        exitCode.code = await run(context, wanted, options);
      });
    examples(command, ['drover pause build-1 --reason "waiting for the schema"', 'drover pause --all']);
    exitCodes(command, '0 held, 2 usage, 3 refused: it has ended, 4 no such session; of several the worst.');
    command.addHelpText(
      'after',
      '\nOf several sessions one that has ended refuses them all, before any is paused; with --all it is passed over.',
    );
  },
};

async function run(context: Context, wanted: string[], options: Options): Promise<number> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  const isAll = options.all === true;
  if (isAll) demandPerson(caller, 'pause every session');
  const rows = await targets(context, deps, wanted, isAll);
  await demandReach(deps, caller, 'stop', rows);
  if (!isAll) refuseFirst(rows, whyNotPause);
  const each = await eachOf(rows, (row) => pause(deps, row, options.reason));
  const tried = each.filter(({ error }) => !isAll || error?.code !== 'session_ended');
  if (!isAll) throwOnly(tried);
  const done = doneOf(tried);
  if (context.globals.json) {
    printJson({
      paused: done.map(({ row, done: ended }) => ({
        id: row.id,
        name: row.name,
        changed: ended.changed,
        prev: ended.prev,
        state: ended.row.state,
      })),
      failed: failedJson(tried),
    });
  } else {
    for (const { row, done: ended } of done) console.log(outcomeLine(row, ended));
    if (tried.length === 0) console.log('nothing is live');
    tellFailed(tried);
  }
  if (done.some(({ done: ended }) => ended.open_turn !== null)) await wake(deps);
  return worstCode(tried);
}
