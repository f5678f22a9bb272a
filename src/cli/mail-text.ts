import { readText } from './read-text.ts';

/**
 * A text somebody writes to somebody: `-` is standard input, everything else itself. `@` is no file here: agents write
 * texts that start with a mention.
 */
export async function mailText(argument: string): Promise<string> {
  return argument === '-' ? readText('-') : argument;
}
