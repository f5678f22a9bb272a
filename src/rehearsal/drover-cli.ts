import type { StepInput } from './script-schema.ts';
import { type Ran, runCommand } from './shell.ts';

/**
 * The drover command line as an agent calls it: `DROVER_BIN` is the program, the session's token is in the environment.
 * Values are joined to their options, so that no text can be taken for one.
 */
export const droverCommand = {
  mail: ({ to, type, priority, subject, body }: StepInput<'mail'>): string[] => [
    ...['mail', 'send', ...(to === undefined ? [] : [`--to=${to}`]), `--type=${type}`, `--priority=${priority}`],
    ...[`--subject=${subject}`, `--body=${body}`],
  ],
  done: (summary: string): string[] => ['done', `--summary=${summary}`],
  ask: (question: string): string[] => ['ask', '--', question],
  check_mail: (): string[] => ['mail', 'check'],
};

/** Runs one of `droverCommand`; without `DROVER_BIN` the answer says so. */
export async function runDrover(args: string[]): Promise<Ran> {
  const program = process.env.DROVER_BIN;
  if (!program) return { code: 127, output: 'DROVER_BIN is not set: this run does not belong to a drover session' };
  return runCommand([program, ...args]);
}
