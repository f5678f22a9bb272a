import { AppError } from '../model/error.ts';
import { createContext, type Globals } from './context.ts';
import { loadColours } from './output.ts';
import { exitCode, type Verb } from './verb.ts';
import { VERBS } from './verbs.ts';

/** Runs one verb; every failure becomes a rendered error and a documented exit code. */
export async function runVerb(name: string, argv: string[], globals: Globals, version: string): Promise<number> {
  const context = createContext(globals);
  try {
    await loadColours();
    const verb = await verbOf(name);
    const plain = verb.plain?.(argv, context) ?? null;
    if (plain === null) return await (await import('./parse.ts')).parseAndRun({ name, verb, argv, version }, context);
    await plain;
    return exitCode.code;
  } catch (error) {
    return await (await import('./report-error.ts')).reportError(error, context);
  } finally {
    context.close();
  }
}

/** Throws `unknown_verb` (2). */
async function verbOf(name: string): Promise<Verb> {
  const entry = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (entry !== undefined) return (await entry.load()).verb;
  const near = Object.keys(VERBS).filter((verb) => verb.startsWith(name.slice(0, 2)));
  throw new AppError('usage', 'unknown_verb', `There is no verb ${JSON.stringify(name)}.`, {
    hint: near.length > 0 ? `Did you mean ${near.join(' or ')}?` : '`drover --help` lists all verbs.',
  });
}
