import { resolve } from 'node:path';
import { AppError } from '../model/error.ts';
import { fileExists, isDirectory } from '../sys/directory.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import { readText } from './read-text.ts';

/** The text of a plan and where it was read from. */
export interface PlanSource {
  text: string;
  /** Absolute; null: standard input. */
  file: string | null;
}

/** Does this word mean a file (or standard input), and not a plan that is stored? A file that exists always does. */
export function isPlanFile(cwd: string, word: string): boolean {
  if (word === '-' || word.includes('/') || /\.(ya?ml|json)$/i.test(word)) return true;
  const path = resolve(cwd, word);
  return fileExists(path) && !isDirectory(path);
}

/** `-` is standard input. Throws `plan_unreadable` (2): no such file, no regular one, too large, not ours to read. */
export async function readPlanSource(cwd: string, word: string): Promise<PlanSource> {
  if (word === '-') return { text: await readText('-'), file: null };
  const file = resolve(cwd, word);
  const text = readOr(file);
  if (text === null) throw unreadable(`There is no file ${word}.`);
  return { text, file };
}

function readOr(file: string): string | null {
  try {
    return readTextIfExists(file);
  } catch (error) {
    if (error instanceof AppError && error.kind !== 'bug') throw unreadable(`${error.message}.`);
    throw error;
  }
}

function unreadable(message: string): AppError {
  return new AppError('usage', 'plan_unreadable', message, {
    hint: 'A plan is a YAML file; `-` reads standard input, `drover plan schema` describes it.',
    preserved: 'nothing was stored, nothing was started',
  });
}

/** For `--var key=value`, any number of times; the last one of a key counts. Throws `usage` (2). */
export function addVariable(text: string, before: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1)
    throw new AppError('usage', 'usage', `--var wants name=value, not ${JSON.stringify(text)}.`, {
      preserved: 'nothing was stored, nothing was started',
    });
  // Without a prototype, so that no name means anything but itself.
  return Object.assign(Object.create(null), before, { [text.slice(0, at)]: text.slice(at + 1) });
}

/** Names that no hole of the text asks for: most likely slips of the pen. */
export function unusedVariables(text: string, variables: Record<string, string>): string[] {
  const asked = new Set([...text.matchAll(/\{\{\s*([A-Za-z0-9_-]+)\s*\}\}/g)].map(([, name]) => name));
  return Object.keys(variables).filter((name) => !asked.has(name));
}
