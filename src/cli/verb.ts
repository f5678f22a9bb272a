import type { Command } from 'commander';
import type { Context } from './context.ts';

/**
 * One verb in one file. `configure` declares arguments, options and examples on a fresh command and sets its action;
 * the action's return value is the exit code (nothing = 0).
 */
export interface Verb {
  configure(command: Command, context: Context): void;
  /**
   * The call that leaves nothing to parse: every word is the one it must be or an operand, no option among them. Does what
   * the parser would have the action do, without the parser, which costs as much as a whole read verb; null for any other
   * call. Only for verbs that people and sessions wait for all day.
   */
  plain?(words: readonly string[], context: Context): Promise<void> | null;
}

/** Lets an action say its exit code without ending the process itself. */
export type ExitSink = { code: number };

export const exitCode: ExitSink = { code: 0 };

/** Appends an "Examples:" block to a command's help. */
export function examples(command: Command, lines: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}

/** Appends the verb's own exit codes to its help; those of every verb are in the README. */
export function exitCodes(command: Command, text: string): void {
  command.addHelpText('after', `\nExit codes: ${text}`);
}
