import type { ProcessHint } from './identity.ts';
import { readTextIfExists } from './read-text.ts';

/** Whom the file names; null when there is no file or no pid in it. Says nothing about who holds the lock. */
export function readPidLock(path: string): ProcessHint | null {
  const text = readTextIfExists(path);
  return text === null ? null : parseOwner(text);
}

/** The content of a pid lock: pid, start time and boot id, a line each; null when there is no pid in it. */
export function parseOwner(text: string): ProcessHint | null {
  const [first = '', start_time = '', boot_id = ''] = text.split('\n');
  if (!/^[1-9]\d{0,9}$/.test(first.trim())) return null;
  return { pid: Number(first), start_time: start_time.trim(), boot_id: boot_id.trim() };
}
