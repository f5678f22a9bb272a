import { AppError, errorJson } from '../model/error.ts';
import type { Context } from './context.ts';
import { hasAnswered, paint, SCHEMA_VERSION, safe } from './output.ts';
import { OUTPUT_FAILED } from './stream-out.ts';

/**
 * Renders an error once: one object on standard output under `--json`, a block on standard error otherwise. When the
 * answer was printed before the failure (mail is stored, and then nobody can be rung), or nothing can be printed there, the
 * object goes to standard error.
 */
export async function reportError(error: unknown, context: Pick<Context, 'globals'>): Promise<number> {
  const known = error instanceof AppError && error.kind !== 'bug' ? await located(error) : bug(error);
  if (context.globals.json) {
    const print = hasAnswered() || known.code === OUTPUT_FAILED ? console.error : console.log;
    print(JSON.stringify({ schema_version: SCHEMA_VERSION, ok: false, error: errorJson(known) }));
  } else {
    const { hint, unsafe_condition, would_change, preserved, recovery_commands: commands = [] } = known.details;
    console.error(`${paint('red', 'error')}: ${safeBlock(known.message)} [${known.code}]`);
    if (hint) console.error(`  ${safeBlock(hint)}`);
    if (unsafe_condition) console.error(`  Unsafe: ${safeBlock(unsafe_condition)}.`);
    if (would_change) console.error(`  Risk: ${safeBlock(would_change)}.`);
    if (preserved) console.error(`  Safe: ${preserved}.`);
    for (const command of commands) console.error(`  Try: ${safe(command)}`);
    if (known.kind === 'bug' && error instanceof Error) console.error(error.stack);
  }
  return known.exitCode;
}

function safeBlock(text: string): string {
  return text.split('\n').map(safe).join('\n');
}

/** Anything that is no `AppError` is a bug in drover and says so. */
function bug(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new AppError('bug', 'internal', `This is a bug in drover: ${message}`, {
    hint: 'Please report it with the stack below. What was acknowledged before is safe.',
  });
}

/** Problems of a config file get their lines. */
async function located(error: AppError): Promise<AppError> {
  if (error.code !== 'config_invalid') return error;
  const { withLines } = await import('./config-lines.ts');
  return withLines(error);
}
