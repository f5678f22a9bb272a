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

/** The file that says what to do (C-04), first place that names one; null: nobody does. Paths are relative to the cwd. */
export function scriptPath({ option, variable, prompt }: ScriptPlaces): string | null {
  const inPrompt = /^[ \t]*rehearsal-script:[ \t]*(.+?)[ \t]*$/m.exec(prompt)?.[1];
  return option ?? (variable || null) ?? inPrompt ?? (existsSync(PROJECT_SCRIPT) ? PROJECT_SCRIPT : null);
}

/** Reads YAML or JSON. Throws `script_unreadable` and `script_invalid` (2). */
export async function loadScript(path: string): Promise<Script> {
  const raw = parse(path);
  // Only here, so that a rehearsal without a script does not load the schema library.
  const { checkScript } = await import('./script-schema.ts');
  return checkScript(raw, path);
}

function parse(path: string): unknown {
  try {
    const text = readFileSync(path, 'utf8');
    return path.endsWith('.json') ? JSON.parse(text) : Bun.YAML.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('usage', 'script_unreadable', `The rehearsal script ${path} cannot be read: ${why}.`);
  }
}

/** The steps of turn `turn` (from 1). */
export function stepsOf({ turns, on_mail }: Script, turn: number): Step[] {
  return turns[Math.max(turn, 1) - 1] ?? on_mail ?? turns.at(-1) ?? [];
}
