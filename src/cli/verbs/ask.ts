import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { callerOf } from '../../session/identity.ts';
import { ask } from '../../session/report.ts';
import { announce } from '../announce.ts';
import type { Context } from '../context.ts';
import { mailText } from '../mail-text.ts';
import { printJson } from '../output.ts';
import { askText } from '../report-text.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';

interface Options {
  options?: string[];
  to: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<question>', 'one precise question; - reads standard input')
      .option('--options <answer...>', 'the answers to choose from')
      .option('--to <whom>', 'operator or parent', 'operator')
      .action((question: string, options: Options) => run(context, question, options));
    examples(command, [
      'drover ask "May I change the public API?"',
      'drover ask "Which port?" --options 8080 9090',
      'drover ask --to parent "Is the schema final?"',
    ]);
    exitCodes(command, '0 asked, 2 usage, or who calls is no session, 3 refused, 4 no such recipient.');
  },
};

async function run(context: Context, question: string, { to, options = [] }: Options): Promise<void> {
  if (to !== 'operator' && to !== 'parent') {
    throw new AppError('usage', 'usage', `--to is operator or parent, not ${JSON.stringify(to)}.`, {
      hint: 'Others are asked with `drover mail send --type question`.',
    });
  }
  const text = await mailText(question);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const mail = await ask(deps, caller, { question: text, options, to });
  if (context.globals.json) printJson({ mail });
  else console.log(askText(mail));
  await announce(deps, caller);
}
