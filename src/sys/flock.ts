import { closeSync, openSync } from 'node:fs';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from './errno.ts';
import { libc } from './ffi.ts';

/**
 * Kernel locks (`flock`): they belong to an open descriptor, every copy of it included, and vanish with the last copy.
 * A process that dies can therefore never leave one behind. Bun opens files close-on-exec, so a child holds a lock
 * only when the descriptor is handed to it on purpose.
 */
export interface Flock {
  readonly fd: number;
  release(): void;
}

const SHARED = 1;
const EXCLUSIVE = 2;
const NON_BLOCKING = 4;
const UNLOCK = 8;
/** Waiting on it is a nap of fractions of a millisecond; `Bun.sleepSync` drops them and would spin. */
const NAP = new Int32Array(new SharedArrayBuffer(4));
const EINTR = 4;
const EAGAIN = 11;

/**
 * Takes the lock on an open descriptor without waiting; false when somebody else has it.
 * Errors: `unavailable` / `lock_unsupported` where the filesystem has no locks.
 */
export function flockNow(fd: number, kind: 'exclusive' | 'shared' = 'exclusive'): boolean {
  const { flock, errno } = libc();
  for (;;) {
    if (flock(fd, (kind === 'shared' ? SHARED : EXCLUSIVE) | NON_BLOCKING) === 0) return true;
    const number = errno();
    if (number === EAGAIN) return false;
    if (number === EINTR) continue;
    throw new AppError('unavailable', 'lock_unsupported', `flock failed (errno ${number})`, {
      hint: 'Put DROVER_HOME on a local filesystem.',
      data: { errno: number },
    });
  }
}

/** Lets go of the lock at once, also where a child just being started still has a copy of the descriptor. */
export function unlockAndClose(fd: number): void {
  libc().flock(fd, UNLOCK);
  closeSync(fd);
}

/** Creates the file when needed and takes its lock without waiting; null when somebody else has it. */
export function tryFlock(path: string): Flock | null {
  const fd = open(path, 'a+');
  try {
    if (flockNow(fd)) return { fd, release: () => unlockAndClose(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return null;
}

/**
 * Does anybody hold the exclusive lock of this file? False when there is no file. The probe takes the shared lock for
 * a few microseconds: probes do not see one another, and a taker that meets one tries again.
 */
export function isFlocked(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw systemError(error, `open ${path}`);
  }
  try {
    return !flockNow(fd, 'shared');
  } finally {
    closeSync(fd);
  }
}

/** One descriptor, locked and unlocked per use (about 5 µs): the gate in front of a database's write lock. */
export interface FlockGate {
  /**
   * Runs `fn` while holding the lock; a nested call runs at once. The wait blocks the thread, `waitMs` at the longest.
   * Errors: `unavailable` / `gate_busy` after the wait, with nothing done.
   */
  withFlock<T>(fn: () => T, waitMs: number): T;
  close(): void;
}

/** Opens (and creates) the gate's file. `fn` must be synchronous: a lock held over an await would starve everybody. */
export function openGate(path: string): FlockGate {
  const fd = open(path, 'a+');
  let depth = 0;
  return {
    withFlock: (fn, waitMs) => {
      if (depth === 0 && !takeWithin(fd, waitMs)) {
        throw new AppError('unavailable', 'gate_busy', `${path} was busy for ${waitMs} ms`, {
          hint: 'Another process is writing; try again.',
        });
      }
      depth++;
      try {
        return fn();
      } finally {
        depth--;
        if (depth === 0) libc().flock(fd, UNLOCK);
      }
    },
    close: () => closeSync(fd),
  };
}

/** Short naps instead of a blocking flock: that one cannot be given an end, and a stopped holder would stop us too. */
function takeWithin(fd: number, waitMs: number): boolean {
  const end = performance.now() + waitMs;
  while (!flockNow(fd)) {
    if (performance.now() >= end) return false;
    Atomics.wait(NAP, 0, 0, 0.1 + Math.random() * 0.3);
  }
  return true;
}

function open(path: string, flags: string): number {
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    throw systemError(error, `open ${path}`);
  }
}
