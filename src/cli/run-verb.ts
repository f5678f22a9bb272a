import { AppError } from '../model/error.ts';
import { type Context, createContext, type Globals } from './context.ts';
import { loadColours } from './output.ts';
import { printFailure, watchPrinting } from './print.ts';
import { exitCode, type Verb } from './verb.ts';
import { VERBS } from './verbs.ts';

/** Runs one verb; every failure becomes a rendered error and a documented exit code. */
export async function runVerb(name: string, argv: string[], globals: Globals, version: string): Promise<number> {
  const context = createContext(globals);
  watchPrinting();
  try {
    await loadColours();
    const verb = await verbOf(name);
    const plain = verb.plain?.(argv, context) ?? null;
    if (plain === null) {
      const { parseAndRun } = await import('./parse.ts');
      return await printed(await parseAndRun({ name, verb, argv, version }, context), context);
    }
    await plain;
    return await printed(exitCode.code, context);
  } catch (error) {
    return await (await import('./report-error.ts')).reportError(error, context);
  } finally {
    context.close();
  }
}

/** When not all of the answer was printed, that is a failure of its own: whoever reads it must not take it for the whole. */
async function printed(code: number, context: Context): Promise<number> {
  const failure = printFailure();
  if (failure === null) return code;
  const [{ outputFailed }, { reportError }] = await Promise.all([
    import('./stream-out.ts'),
    import('./report-error.ts'),
  ]);
  const failed = await reportError(outputFailed(failure), context);
  return code === 0 ? failed : code;
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
