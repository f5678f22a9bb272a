import { closeSync, constants, fstatSync, ftruncateSync, openSync, rmSync, type Stats } from 'node:fs';
import { AppError } from '../model/error.ts';
import { errnoOf } from './errno.ts';

// The files of a turn lie where the processes of its session can write. What they put in the place of a file must not
// stop us (opening a pipe waits for its other end, for ever), nor lead us elsewhere (a link). Whether it is a file is
// asked of the open descriptor: between a look at a path and opening it, anything could happen.

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/** What opening something that is no regular file says: a link, a pipe nobody reads or a socket, a directory. */
const NO_FILE = ['ELOOP', 'ENXIO', 'EISDIR'];

/**
 * Opens a file for reading, at once. Errors: `failed` / `not_a_file` for anything else that has the name, a link too unless
 * links are to be followed; the system's own.
 */
export function openRegular(path: string, links: 'refuse' | 'follow' = 'refuse'): number {
  const fd = tryOpen(path, links === 'follow' ? O_RDONLY : O_RDONLY | O_NOFOLLOW, (stat) => stat.isFile());
  if (fd === null) throw new AppError('failed', 'not_a_file', `cannot read ${path}: it is no regular file`);
  return fd;
}

/**
 * Opens a file of ours for writing, makes it when there is none, and first removes whatever else has its name. `replace`
 * empties it. A file that has a second name may be somebody else's, so it is replaced by one of ours as well. Throws the
 * system's own errors.
 */
export function openOwn(path: string, how: 'append' | 'replace'): number {
  const flags = how === 'append' ? O_WRONLY | O_APPEND : O_WRONLY;
  const fd = tryOpen(path, flags | O_CREAT | O_NOFOLLOW, (stat) => stat.isFile() && stat.nlink === 1);
  if (fd === null) {
    rmSync(path, { recursive: true, force: true });
    return openSync(path, flags | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  }
  // Not when there is nothing to cut off: what was cut off and written again, the kernel sends to the disk at once.
  if (how === 'replace' && fstatSync(fd).size > 0) ftruncateSync(fd);
  return fd;
}

function tryOpen(path: string, flags: number, isWanted: (stat: Stats) => boolean): number | null {
  let fd: number;
  try {
    fd = openSync(path, flags | O_NONBLOCK, 0o600);
  } catch (error) {
    if (NO_FILE.includes(errnoOf(error))) return null;
    throw error;
  }
  if (isWanted(fstatSync(fd))) return fd;
  closeSync(fd);
  return null;
}
