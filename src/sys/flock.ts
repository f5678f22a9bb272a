import { closeSync, constants, openSync } from 'node:fs';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from './errno.ts';
import { libc } from './ffi.ts';

const SHARED = 1;
const EXCLUSIVE = 2;
const NON_BLOCKING = 4;
const UNLOCK = 8;
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

/**
 * Does anybody hold the exclusive lock of this file? False when there is none. A pipe in its place is looked at and not
 * waited for; a socket is nobody's lock. The probe takes the shared lock for
 * a few microseconds: probes do not see one another, and a taker that meets one tries again.
 */
export function isFlocked(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENXIO') return false;
    throw systemError(error, `open ${path}`);
  }
  try {
    return !flockNow(fd, 'shared');
  } finally {
    closeSync(fd);
  }
}
