import type { Command } from 'commander';
import { rebaseSession } from '../../merge/one.ts';
import { callerOf } from '../../session/identity.ts';
import { demandReach } from '../../session/reach.ts';
import { demand } from '../../session/rights.ts';
import { onSignal } from '../../sys/signals.ts';
import type { Context } from '../context.ts';
import { printJson, safe } from '../output.ts';
import { lookUp } from '../sessions.ts';
import { examples, type Verb } from '../verb.ts';
import { patienceOf, type WaitOption, waitOption } from '../wait-option.ts';

interface Options extends WaitOption {
  into?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<session>', 'an ended session with a worktree: id, unique prefix, name, or latest')
      .option('--into <branch>', 'the branch it will be merged into (default: the one the person was on at its sling)')
      .action((wanted: string, options: Options) => run(context, wanted, options));
    waitOption(command);
    examples(command, [
      'drover rebase build-1',
      'drover rebase build-1 --into release/2',
      'drover rebase build-1 --wait',
    ]);
    command.addHelpText(
      'after',
      `
Writes the commits of its branch anew on top of the target, in its worktree. After a conflict everything is as it was.
It is refused at once while a merge into the target runs, unless --wait lets it wait for its turn.
Exit codes: 0 ok, 1 conflicts, 2 usage, 3 refused (live, uncommitted changes, no worktree, a merge that still runs),
4 no such session, 130 interrupted.`,
    );
  },
};

async function run(context: Context, wanted: string, options: Options): Promise<void> {
  const patience = patienceOf(options, context.globals.quiet);
  const into = options.into ?? null;
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'merge');
  const row = await lookUp(context, deps.store, wanted);
  await demandReach(deps, caller, 'merge', [row]);
  const stop = new AbortController();
  // A rebase is finished or taken back: half of one would be somebody else's trouble.
  const signals = onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
  try {
    const done = await rebaseSession(deps, { row, into, patience, by: caller.name, signal: stop.signal });
    const { session_id, branch, base_branch, already_up_to_date } = done;
    if (context.globals.json) return printJson({ session_id, branch, base_branch, already_up_to_date });
    const what = already_up_to_date ? 'stands on' : 'is rebased onto';
    console.log(`${safe(row.name)}: ${safe(branch)} ${what} ${safe(base_branch)}`);
  } finally {
    signals.close();
  }
}
