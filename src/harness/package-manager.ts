import { asObject, textAt } from './json-line.ts';

const MANAGERS = ['npm', 'pnpm', 'yarn', 'bun'] as const;
export type PackageManager = (typeof MANAGERS)[number];

/** In the order in which they are looked at (E-047). */
const LOCK_FILES: [file: string, manager: PackageManager][] = [
  ['pnpm-lock.yaml', 'pnpm'],
  ['bun.lockb', 'bun'],
  ['bun.lock', 'bun'],
  ['yarn.lock', 'yarn'],
  ['package-lock.json', 'npm'],
];

/** The lock files whose presence is a fact for `packageManager`. */
export const LOCK_FILE_NAMES = LOCK_FILES.map(([file]) => file);

/** What was found in a working directory and a home; file contents are raw text, `null` when there is no such file. */
export interface PackageManagerFacts {
  /** Value of `CLAUDE_PACKAGE_MANAGER`. */
  env_value: string | null;
  /** `<dir>/.claude/package-manager.json` */
  project_settings: string | null;
  /** `<dir>/package.json` */
  package_json: string | null;
  lock_files: ReadonlySet<string>;
  /** `~/.claude/package-manager.json` */
  user_settings: string | null;
}

/** The package manager of a project; the first source that names a known one wins (E-046…E-049). */
export function packageManager(facts: PackageManagerFacts): PackageManager {
  const lock = LOCK_FILES.find(([file]) => facts.lock_files.has(file))?.[1];
  return (
    managerName(facts.env_value) ??
    namedIn(facts.project_settings) ??
    namedIn(facts.package_json) ??
    lock ??
    namedIn(facts.user_settings) ??
    'npm'
  );
}

/** `pnpm@9.0.0` → `pnpm`; anything that is not one of the four → `null` (E-049). */
function managerName(value: string | null): PackageManager | null {
  const name = value?.split('@')[0]?.trim();
  return MANAGERS.find((manager) => manager === name) ?? null;
}

function namedIn(json: string | null): PackageManager | null {
  if (json === null) return null;
  try {
    const settings = asObject(JSON.parse(json));
    return settings === null ? null : managerName(textAt(settings, 'packageManager'));
  } catch {
    // A broken file is the project's business; the next source is asked (E-049).
    return null;
  }
}
