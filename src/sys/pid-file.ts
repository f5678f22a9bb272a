import { modifiedAt } from './directory.ts';
import { type ProcessHint, signal } from './identity.ts';
import { readTextIfExists } from './read-text.ts';

/** A watchdog shows its life every 5 s at the latest; so long without a sign is no busy machine any more. */
export const SILENT_MS = 60_000;

/** Whom the file names; null when there is no file or no pid in it. Says nothing about who holds the lock. */
export function readPidLock(path: string): ProcessHint | null {
  const text = readTextIfExists(path);
  return text === null ? null : parseOwner(text);
}

/** When its owner last gave a sign of life, wall ms: the mark of time that `showLife` leaves. 0 when there is no file. */
export function lastSignOf(path: string): number {
  return Math.floor(modifiedAt(path));
}

/**
 * Since when the owner has given no sign of life, wall ms; null while that is not long. For one look at one instant: after
 * the machine slept it may be wrong for a few seconds, so nobody is ended for it.
 */
export function silentSince(path: string, now: number): number | null {
  const at = lastSignOf(path);
  return at > 0 && now - at > SILENT_MS ? at : null;
}

/**
 * Ends the process that the file of a held lock names, proven by pid, start time and boot id, at once; its pid, or null
 * when nobody was ended: the file says too little, or the process it names is gone.
 */
export function killOwner(path: string): number | null {
  const { pid, start_time, boot_id } = readPidLock(path) ?? {};
  if (pid == null || !start_time || !boot_id) return null;
  return signal({ pid, start_time, boot_id }, 'SIGKILL') ? pid : null;
}

/** The content of a pid lock: pid, start time and boot id, a line each; null when there is no pid in it. */
export function parseOwner(text: string): ProcessHint | null {
  const [first = '', start_time = '', boot_id = ''] = text.split('\n');
  if (!/^[1-9]\d{0,9}$/.test(first.trim())) return null;
  return { pid: Number(first), start_time: start_time.trim(), boot_id: boot_id.trim() };
}
