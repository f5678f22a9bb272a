import type { Command } from 'commander';
import { callerOf } from '../../session/identity.ts';
import { done } from '../../session/report.ts';
import { announce } from '../announce.ts';
import type { Context } from '../context.ts';
import { mailText } from '../mail-text.ts';
import { printJson } from '../output.ts';
import { doneText } from '../report-text.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .requiredOption('--summary <text>', 'what was done, in a few sentences; - reads standard input')
      .action((options: { summary: string }) => run(context, options.summary));
    examples(command, [
      'drover done --summary "the flaky test waits for the port now; committed"',
      'drover done --summary - <report.md',
    ]);
    exitCodes(command, '0 reported, 2 usage, or who calls is no session, 3 its turn is over.');
  },
};

async function run(context: Context, summary: string): Promise<void> {
  const text = await mailText(summary);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const report = await done(deps, caller, { summary: text });
  if (context.globals.json) printJson({ ...report });
  else console.log(doneText(report));
  await announce(deps, caller);
}
