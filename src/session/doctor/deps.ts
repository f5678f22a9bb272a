import type { Clock } from '../../model/clock.ts';
import type { AppError } from '../../model/error.ts';

/** What the doctor needs; it opens the database itself, because that may be what is broken. */
export interface DoctorDeps {
  clock: Clock;
  /** Absolute DROVER_HOME. */
  home: string;
  env: Record<string, string | undefined>;
  package_dir: string;
  /** Our own version. */
  version: string;
  /** Main root of the repository we were called in; its config is looked at too. */
  repo_root: string | null;
  /** The same error with the line of every problem of a config file. */
  locate: (error: AppError) => AppError;
}

/** A list in words, the first few of it. */
export function someOf(words: readonly string[], most = 5): string {
  return words.length <= most ? words.join(', ') : `${words.slice(0, most).join(', ')} and ${words.length - most} more`;
}

export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MiB`;
}
