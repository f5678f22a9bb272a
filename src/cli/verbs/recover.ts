import type { Command } from 'commander';
import { recover } from '../../session/control.ts';
import { whyNotRecover } from '../../session/control-checks.ts';
import { callerOf } from '../../session/identity.ts';
import { demandOwnChildren } from '../../session/reach.ts';
import { demand } from '../../session/rights.ts';
import type { Context } from '../context.ts';
import { targets } from '../control.ts';
import { doneOf, eachOf, failedJson, refuseFirst, tellFailed, throwOnly, worstCode } from '../each.ts';
import { printJson } from '../output.ts';
import { warnHalt } from '../render-halt.ts';
import { examples, exitCode, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<session...>', 'an ended session: id, unique prefix, name, or latest')
      .option('--text <text>', 'what to tell the new session')
      .action(async (wanted: string[], options: { text?: string }) => {
        exitCode.code = await run(context, wanted, options.text);
      });
    examples(command, ['drover recover build-1', 'drover recover latest --text "the flaky test was fixed meanwhile"']);
    exitCodes(
      command,
      '0 slung, 2 usage, 3 refused: it lives, or cannot be taken over, 4 no such session; of several the worst.',
    );
    command.addHelpText('after', '\nOf several sessions one that still lives refuses them all, before any is started.');
  },
};

async function run(context: Context, wanted: string[], text: string | undefined): Promise<number> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'sling');
  const rows = await targets(context, deps, wanted, false);
  await demandOwnChildren(deps, caller, rows);
  refuseFirst(rows, whyNotRecover);
  const tried = await eachOf(rows, (row) => recover(deps, caller, row, text));
  throwOnly(tried);
  const made = doneOf(tried);
  if (context.globals.json) {
    const recovered = made.map(({ row, done: session }) => ({ from: row.id, session }));
    printJson({ recovered, failed: failedJson(tried) });
  } else {
    for (const { row, done } of made) console.log(`${done.id}  ${done.name}  takes over from ${row.id}`);
    tellFailed(tried);
  }
  if (made.length > 0) {
    await warnHalt(context, deps.store);
    await wake(deps);
  }
  return worstCode(tried);
}
