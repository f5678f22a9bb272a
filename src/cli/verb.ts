import type { Command } from 'commander';
import type { Context } from './context.ts';

/**
 * One verb in one file. `configure` declares arguments, options and examples on a fresh command and sets its action;
 * the action's return value is the exit code (nothing = 0).
 */
export interface Verb {
  configure(command: Command, context: Context): void;
}

/** Lets an action say its exit code without ending the process itself. */
export type ExitSink = { code: number };

export const exitCode: ExitSink = { code: 0 };

/** Appends an "Examples:" block to a command's help. */
export function examples(command: Command, lines: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}
