import type { Command } from 'commander';
import { nudge } from '../../session/control.ts';
import { callerOf } from '../../session/identity.ts';
import { demandReach } from '../../session/reach.ts';
import { demand } from '../../session/rights.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { readText } from '../read-text.ts';
import { lookUp } from '../sessions.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<session>', 'id, unique prefix, name, or latest')
      .argument('[text]', 'what to say (- reads standard input)')
      .option('--interrupt', 'end the turn in flight first')
      .action((wanted: string, text: string | undefined, options: { interrupt?: boolean }) =>
        run(context, wanted, text, options.interrupt === true),
      );
    examples(command, [
      'drover nudge build-1',
      'drover nudge build-1 "the tests live in spec/"',
      'drover nudge build-1 --interrupt "stop, wrong branch"',
    ]);
    exitCodes(command, '0 stored, 2 usage, 3 refused: it has ended or is held, 4 no such session.');
  },
};

async function run(context: Context, wanted: string, text: string | undefined, interrupt: boolean): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'nudge');
  const row = await lookUp(context, deps.store, wanted);
  await demandReach(deps, caller, 'nudge', [row]);
  const nudged = await nudge(deps, caller, row, {
    text: text === undefined ? undefined : await readText(text),
    interrupt,
  });
  await wake(deps);
  if (context.globals.json) {
    printJson({
      session: nudged.row,
      mail: nudged.mail,
      changed: nudged.changed,
      interrupted_turn: nudged.interrupted_turn,
    });
    return;
  }
  console.log(`${row.name}: ${what(row.state, nudged.interrupted_turn, nudged.changed)}`);
}

function what(state: string, interrupted: number | null, changed: boolean): string {
  if (!changed) return 'the same nudge is already waiting';
  if (interrupted !== null) return `turn ${interrupted} is being ended; the next one starts with your words`;
  if (state === 'idle') return 'a turn is starting';
  if (state === 'queued') return 'stored; its next turn carries it';
  if (state === 'parked') return 'stored; it is parked, `drover resume` lets it read';
  return 'stored; it reads it after this turn';
}
