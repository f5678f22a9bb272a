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

/** The task of the session this run belongs to; empty when drover does not say. */
export async function ownTask(): Promise<string> {
  const { code, output } = await runDrover(['show', process.env.DROVER_SESSION_ID ?? '', '--json', '--quiet']);
  if (code !== 0) return '';
  return (JSON.parse(output) as { session?: { task?: string } }).session?.task ?? '';
}
