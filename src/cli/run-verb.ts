import { Command, CommanderError } from 'commander';
import { AppError } from '../model/error.ts';
import type { Context } from './context.ts';
import { loadColours } from './output.ts';
import { reportError } from './report-error.ts';
import { exitCode } from './verb.ts';
import { VERBS } from './verbs.ts';

/** Parses and runs one verb; every failure becomes a rendered error and a documented exit code. */
export async function runVerb(name: string, argv: string[], context: Context, version: string): Promise<number> {
  try {
    await loadColours();
    const command = await commandFor(name, context);
    command.version(version);
    await command.parseAsync(argv, { from: 'user' });
    return exitCode.code;
  } catch (error) {
    return error instanceof CommanderError ? await commanderExit(error, context) : await reportError(error, context);
  }
}

/** A command with drover's settings, configured by its verb. Throws `unknown_verb` (2). */
export async function commandFor(name: string, context: Context): Promise<Command> {
  const entry = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (entry === undefined) {
    const near = Object.keys(VERBS).filter((verb) => verb.startsWith(name.slice(0, 2)));
    throw new AppError('usage', 'unknown_verb', `There is no verb ${JSON.stringify(name)}.`, {
      hint: near.length > 0 ? `Did you mean ${near.join(' or ')}?` : '`drover --help` lists all verbs.',
    });
  }
  const { verb } = await entry.load();
  const command = new Command(`drover ${name}`);
  command.description(entry.summary);
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

async function commanderExit(error: CommanderError, context: Context): Promise<number> {
  if (HELP_CODES.has(error.code)) return 0;
  // A verb that needs one of its commands showed its help on standard error instead.
  if (error.code === 'commander.help') return 2;
  const message = error.message.replace(/^error: /, '');
  return reportError(new AppError('usage', 'usage', message, { hint: 'See --help.' }), context);
}
