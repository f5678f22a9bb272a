import { lstatSync } from 'node:fs';
import { errnoOf, systemError } from './errno.ts';

const UNREACHABLE = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'ENAMETOOLONG'];

/**
 * When the kernel last saw this name's file, link or directory change, in wall ms; nobody can set it back. Null when it
 * cannot be reached. Errors: anything else, as `systemError`.
 */
export function changedAt(path: string): number | null {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.ctimeMs ?? null;
  } catch (error) {
    if (UNREACHABLE.includes(errnoOf(error))) return null;
    throw systemError(error, `look at ${path}`);
  }
}
