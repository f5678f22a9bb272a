import type { Command } from 'commander';
import { recover } from '../../session/control.ts';
import { callerOf } from '../../session/identity.ts';
import { demandOwnChildren } from '../../session/reach.ts';
import { demand } from '../../session/rights.ts';
import type { Context } from '../context.ts';
import { targets } from '../control.ts';
import { printJson } from '../output.ts';
import { warnHalt } from '../render-halt.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<session...>', 'an ended session: id, unique prefix, name, or latest')
      .option('--text <text>', 'what to tell the new session')
      .action((wanted: string[], options: { text?: string }) => run(context, wanted, options.text));
    examples(command, ['drover recover build-1', 'drover recover latest --text "the flaky test was fixed meanwhile"']);
    exitCodes(command, '0 slung, 2 usage, 3 refused: it lives, or cannot be taken over, 4 no such session.');
  },
};

async function run(context: Context, wanted: string[], text: string | undefined): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'sling');
  const rows = await targets(context, deps, wanted, false);
  await demandOwnChildren(deps, caller, rows);
  const made = [];
  for (const row of rows) made.push({ from: row, session: await recover(deps, caller, row, text) });
  await warnHalt(context, deps.store);
  await wake(deps);
  if (context.globals.json) printJson({ recovered: made.map(({ from, session }) => ({ from: from.id, session })) });
  else for (const { from, session } of made) console.log(`${session.id}  ${session.name}  takes over from ${from.id}`);
}
