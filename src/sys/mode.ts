import { chmodSync, statSync } from 'node:fs';
import { errnoOf, systemError } from './errno.ts';

/** Permission bits and owner of a file; `is_ours`: it belongs to the user we run as. */
export interface Mode {
  bits: number;
  is_ours: boolean;
  is_directory: boolean;
}

/** Null when there is no such file, or none that we may look at. */
export function modeOf(path: string): Mode | null {
  try {
    const stat = statSync(path);
    return { bits: stat.mode & 0o777, is_ours: stat.uid === process.geteuid?.(), is_directory: stat.isDirectory() };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error))) return null;
    throw systemError(error, `look at ${path}`);
  }
}

export function setMode(path: string, bits: number): void {
  try {
    chmodSync(path, bits);
  } catch (error) {
    throw systemError(error, `change the mode of ${path}`);
  }
}
