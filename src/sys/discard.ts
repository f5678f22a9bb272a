import { randomBytes } from 'node:crypto';
import { lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errnoOf, systemError } from './errno.ts';

/** What `moveAside` leaves begins with this; a process that was killed in between leaves it for the next one. */
export const ASIDE_PREFIX = '.gone-';

/** Gives a directory another name beside it, in one step, and returns the new path; null when there is none. */
export function moveAside(path: string): string | null {
  const aside = join(dirname(path), `${ASIDE_PREFIX}${basename(path)}-${randomBytes(4).toString('hex')}`);
  try {
    renameSync(path, aside);
    return aside;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw systemError(error, `move ${path} aside`);
  }
}

/** Removes a directory and all that is in it; links are removed, not followed. Nothing there is fine. */
export function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    throw systemError(error, `remove ${path}`);
  }
}

/** Sizes of the files below a directory, summed, in bytes; 0 when there is none. Links are not followed. */
export function treeBytes(path: string): number {
  try {
    return readdirSync(path, { withFileTypes: true }).reduce((sum, entry) => {
      const inner = join(path, entry.name);
      return sum + (entry.isDirectory() ? treeBytes(inner) : (lstatSync(inner, { throwIfNoEntry: false })?.size ?? 0));
    }, 0);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw systemError(error, `look at ${path}`);
  }
}
