import { existsSync, readFileSync } from 'node:fs';
import { AppError } from '../model/error.ts';
import type { Script, Step } from './script-schema.ts';

export interface ScriptPlaces {
  /** `--script`. */
  option: string | null;
  /** `DROVER_REHEARSAL_SCRIPT`. */
  variable: string | null;
  prompt: string;
}

const PROJECT_SCRIPT = '.drover/rehearsal.yaml';

/** A file, or the script itself, written in a prompt. */
export type ScriptPlace = { path: string } | { text: string };

/** What says what to do (C-04), first place that does; null: nobody does. Paths are relative to the cwd. */
export function scriptPlace({ option, variable, prompt }: ScriptPlaces): ScriptPlace | null {
  const path = option ?? (variable || null);
  if (path !== null) return { path };
  return scriptIn(prompt) ?? (existsSync(PROJECT_SCRIPT) ? { path: PROJECT_SCRIPT } : null);
}

/** `rehearsal-script: FILE`, or `rehearsal-script: |` and below it the script, indented deeper; null: neither. */
export function scriptIn(prompt: string): ScriptPlace | null {
  const named = /^([ \t]*)rehearsal-script:[ \t]*(.+?)[ \t]*$/m.exec(prompt);
  const [line = '', indent = '', value = ''] = named ?? [];
  if (named === null || value !== '|') return named === null ? null : { path: value };
  const below = prompt.slice(named.index + line.length + 1).split('\n');
  const isInside = (each: string) => each.trim() === '' || /^[ \t]*/.exec(each)?.[0].startsWith(`${indent} `) === true;
  const end = below.findIndex((each) => !isInside(each));
  return { text: below.slice(0, end === -1 ? undefined : end).join('\n') };
}

/** Reads YAML or JSON. Throws `script_unreadable` and `script_invalid` (2). */
export async function loadScript(place: ScriptPlace): Promise<Script> {
  const name = 'path' in place ? place.path : 'in the prompt';
  const raw = parse(place, name);
  // Only here, so that a rehearsal without a script does not load the schema library.
  const { checkScript } = await import('./script-schema.ts');
  return checkScript(raw, name);
}

function parse(place: ScriptPlace, name: string): unknown {
  try {
    const text = 'path' in place ? readFileSync(place.path, 'utf8') : place.text;
    return name.endsWith('.json') ? JSON.parse(text) : Bun.YAML.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('usage', 'script_unreadable', `The rehearsal script ${name} cannot be read: ${why}.`);
  }
}

/** The steps of turn `turn` (from 1). */
export function stepsOf({ turns, on_mail }: Script, turn: number): Step[] {
  return turns[Math.max(turn, 1) - 1] ?? on_mail ?? turns.at(-1) ?? [];
}
