import { AppError } from '../../src/model/error.ts';

/** Wrong arguments: exit code 2. */
export function wrongUse(message: string): AppError {
  return new AppError('usage', 'usage', message);
}

/** What `parseArgs` makes of the command line; throws `usage` (2) for what it does not know. */
export function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const isUse = error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
    throw isUse ? wrongUse(error.message) : error;
  }
}

/** A whole number of at least `least`; throws `usage` (2). */
export function wholeNumber(option: string, text: string, least: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw wrongUse(`${option} takes a whole number from ${least}, not ${JSON.stringify(text)}`);
}

/** Runs a program to its exit code: a typed error is one line, anything else is a bug and keeps its stack. */
export async function exitCodeOf(program: string, main: () => Promise<number>): Promise<number> {
  try {
    return await main();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    console.error(`${program}: ${error.message}`);
    return error.exitCode;
  }
}
