import { quoted } from '../model/shell.ts';
import type { GateVerdict } from '../session/gate.ts';
import type { Known } from './facts.ts';

const MAIL_TAIL = 4_000;

/** Why a gate was red, in one line; `red_target` names the target when that is red without the branch, too. */
export function reasonOfRed({ command, reason }: GateVerdict, red_target: string | null): string {
  const own = `gate \`${command}\`: ${reason}`;
  return red_target === null ? own : `${own}; ${red_target} is red without it, too`;
}

/** What the session, or who answers for it, is told: the end of the output, and the command that lets it mend this. */
export function mailOfRed({ row, target }: Known, reason: string, output: string): { subject: string; body: string } {
  const verb = row.state === 'completed' || row.state === 'zombie' ? 'recover' : 'resume';
  const task = `The gate is red on your branch merged into ${target}. Mend it.`;
  const command = `drover ${verb} ${quoted(row.name)} --text ${quoted(task)}`;
  const tail = output.slice(-MAIL_TAIL);
  return {
    subject: `${row.name} was not merged into ${target}: its gate is red`,
    body: [
      `The branch ${row.branch} of ${row.name}, merged into ${target}, does not pass: ${reason}.`,
      `${target} was not moved; branch and worktree are as they were.`,
      '',
      `To let it mend this: ${command}`,
      `To try once more as it is: drover merge ${quoted(row.name)}`,
      ...(tail === '' ? [] : ['', 'The end of what it said:', tail]),
    ].join('\n'),
  };
}
