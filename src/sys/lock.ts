import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  openSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, systemError } from './errno.ts';
import { readRange } from './files.ts';
import { flockNow, unlockAndClose } from './flock.ts';
import { identityOf, liveness, type ProcessHint } from './identity.ts';
import { parseOwner, readPidLock } from './pid-file.ts';

/**
 * Pid locks (O-37…O-45, I20). The kernel's `flock` on the file decides who owns it, for as long as the owner lives;
 * the content (pid, start time, boot id, a line each) only informs. So a file that names a living process which does
 * not hold the lock is taken over (the pid was reused, or its owner let go), and a file that names anything at all is
 * refused while somebody holds the lock. The file is never deleted: there is no reclaim step that could race.
 */
export interface PidLock {
  readonly path: string;
  readonly pid: number;
  /** Is it still ours? False after `release()` and when the file was replaced, deleted or overwritten under us. */
  stillHeld(): boolean;
  /** Leaves a sign of life: the file's time of change (`lastSignOf`). `now`: wall ms. Does nothing after `release()`. */
  showLife(now: number): void;
  /** Empties the file and lets go. A second call does nothing. */
  release(): void;
}

export type PidLockResult = { acquired: true; lock: PidLock } | { acquired: false; existing_pid: number | null };

const MAX_CONTENT = 256;
/** How long a loser waits for the winner's pid to appear in the file, and a taker for a probe to go away. */
const RETRIES = 25;
const RETRY_MS = 2;

/** Locks of this process by device and inode: asking again for one's own lock is not a conflict (O-40). */
const held = new Map<string, PidLock>();

/**
 * Takes the lock or names the owner; never waits longer than 50 ms. `pid` is for tests, the default is our own.
 * `existing_pid` is null when the owner has not written its pid (yet). Parent directories are created. With `is_single`
 * our own process, too, has it only once: for work that this process does beside other work.
 */
export function acquirePidLock(path: string, options: { pid?: number; is_single?: boolean } = {}): PidLockResult {
  const pid = options.pid ?? process.pid;
  for (let attempt = 0; ; attempt++) {
    const result = attemptLock(path, pid, options.is_single === true);
    if (result.acquired) return result;
    if (isOwner(result.owner) || attempt >= RETRIES) {
      return { acquired: false, existing_pid: result.owner?.pid ?? null };
    }
    Bun.sleepSync(RETRY_MS);
  }
}

/** A living process by its full identity; anything less may be what the winner has not overwritten yet. */
function isOwner(owner: ProcessHint | null): boolean {
  return Boolean(owner?.start_time && owner.boot_id) && liveness(owner) === 'alive';
}

type Attempt = { acquired: true; lock: PidLock } | { acquired: false; owner: ProcessHint | null };

function attemptLock(path: string, pid: number, is_single: boolean): Attempt {
  const fd = openLockFile(path);
  let keep = false;
  try {
    const mine = held.get(fileKey(fd));
    if (mine?.pid === pid && mine.stillHeld())
      return is_single ? { acquired: false, owner: ownerIn(fd) } : { acquired: true, lock: mine };
    if (!flockNow(fd)) return { acquired: false, owner: ownerIn(fd) };
    // Between open and flock the file may have been replaced by hand; a lock on an unreachable file is worth nothing.
    if (!isFileAt(fd, path)) return { acquired: false, owner: null };
    writeOwner(fd, pid);
    keep = true;
    return { acquired: true, lock: makeLock(path, fd, pid) };
  } catch (error) {
    throw systemError(error, `take the lock ${path}`);
  } finally {
    if (!keep) closeSync(fd);
  }
}

function ownerIn(fd: number): ProcessHint | null {
  return parseOwner(readRange(fd, 0, MAX_CONTENT).toString('latin1'));
}

function makeLock(path: string, fd: number, pid: number): PidLock {
  const key = fileKey(fd);
  let released = false;
  const lock: PidLock = {
    path,
    pid,
    stillHeld: () => !released && isFileAt(fd, path) && readPidLock(path)?.pid === pid,
    showLife: (now) => {
      if (released) return;
      try {
        futimesSync(fd, now / 1000, now / 1000);
      } catch (error) {
        throw systemError(error, `touch the lock ${path}`);
      }
    },
    release: () => {
      if (released) return;
      released = true;
      if (held.get(key) === lock) held.delete(key);
      try {
        ftruncateSync(fd, 0);
      } finally {
        unlockAndClose(fd);
      }
    },
  };
  held.set(key, lock);
  return lock;
}

function openLockFile(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (error) {
    throw systemError(error, `open the lock ${path}`);
  }
}

/** Content first, length second: a reader finds the new first line whole, at worst with old lines behind it. */
function writeOwner(fd: number, pid: number): void {
  const id = identityOf(pid);
  const content = Buffer.from(id ? `${pid}\n${id.start_time}\n${id.boot_id}\n` : `${pid}\n`);
  writeSync(fd, content, 0, content.length, 0);
  ftruncateSync(fd, content.length);
}

function fileKey(fd: number): string {
  const { dev, ino } = fstatSync(fd);
  return `${dev}:${ino}`;
}

function isFileAt(fd: number, path: string): boolean {
  try {
    const at = statSync(path);
    const open = fstatSync(fd);
    return at.ino === open.ino && at.dev === open.dev;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw systemError(error, `look at the lock ${path}`);
  }
}
