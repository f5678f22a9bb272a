import type { SessionRow } from '../model/session.ts';
import { readInside } from '../sys/read-inside.ts';

/** What one step hands to another goes into a task; more than this is no text for a task. */
const MAX_BYTES = 256 * 1024;

/**
 * The text of a file in the directory a session works in; null when there is none. Errors: `refused` / `outside`,
 * `failed` / `not_a_file`, `file_too_large` (256 KiB).
 */
export function readOutput({ working_dir }: Pick<SessionRow, 'working_dir'>, path: string): string | null {
  return readInside(working_dir, path, MAX_BYTES);
}
