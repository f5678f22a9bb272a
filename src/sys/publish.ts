import { chmodSync, closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemError } from './errno.ts';

/** Gives a finished file its name, for its owner alone; content and name survive a power loss. What stood there is replaced. */
export function publish(temporary: string, path: string): void {
  try {
    chmodSync(temporary, 0o600);
    sync(temporary);
    renameSync(temporary, path);
    sync(dirname(path));
  } catch (error) {
    throw systemError(error, `write ${path}`);
  }
}

function sync(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Removes a file; none is fine. */
export function discardFile(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    throw systemError(error, `remove ${path}`);
  }
}
