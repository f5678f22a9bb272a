import { Command, CommanderError } from 'commander';
import { AppError } from '../model/error.ts';
import type { Context } from './context.ts';
import { exitCode, type Verb } from './verb.ts';
import { VERBS } from './verbs.ts';

interface Call {
  name: string;
  verb: Verb;
  argv: string[];
  version: string;
}

/** Parses the words of one verb and runs it; its exit code. Throws `usage` (2) and whatever the verb throws. */
export async function parseAndRun({ name, verb, argv, version }: Call, context: Context): Promise<number> {
  const command = commandFor(name, verb, context);
  command.version(version);
  try {
    await command.parseAsync(argv, { from: 'user' });
    return exitCode.code;
  } catch (error) {
    if (error instanceof CommanderError) return commanderExit(error);
    throw error;
  }
}

/** A command with drover's settings, configured by its verb. */
function commandFor(name: string, verb: Verb, context: Context): Command {
  const command = new Command(`drover ${name}`);
  command.description(VERBS[name]?.summary ?? '');
  command.exitOverride();
  command.configureOutput({
    writeOut: (text) => console.log(text.trimEnd()),
    writeErr: (text) => {
      if (text.startsWith('Usage:')) console.error(text.trimEnd());
    },
  });
  command.helpOption('-h, --help', 'show this help');
  verb.configure(command, context);
  command.addHelpText('after', '\nGlobal: --json, --project DIR, --quiet. All exit codes: drover --help');
  return command;
}

const HELP_CODES = new Set(['commander.helpDisplayed', 'commander.version']);

function commanderExit(error: CommanderError): number {
  if (HELP_CODES.has(error.code)) return 0;
  // A verb that needs one of its commands showed its help on standard error instead.
  if (error.code === 'commander.help') return 2;
  throw new AppError('usage', 'usage', error.message.replace(/^error: /, ''), { hint: 'See --help.' });
}
