import {
  chmodSync,
  closeSync,
  fchmodSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  promises,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from './errno.ts';
import { openOwn, openRegular } from './regular-file.ts';

/**
 * Replaces a file in one step: a reader sees the old content or the new, never a part. `mode` holds whatever the umask
 * says. With `sync` the content and the name survive a power loss. Errors: see `systemError`; the old file stays.
 */
export function writeAtomic(path: string, data: string | Uint8Array, mode = 0o600, options: { sync?: boolean } = {}) {
  const temp = join(dirname(path), `.${basename(path)}.${crypto.randomUUID()}.tmp`);
  try {
    writeWhole(temp, data, mode, options.sync === true);
    renameSync(temp, path);
    if (options.sync) syncDirectory(dirname(path));
  } catch (error) {
    rmSync(temp, { force: true });
    throw systemError(error, `write ${path}`);
  }
}

function writeWhole(path: string, data: string | Uint8Array, mode: number, sync: boolean): void {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  const fd = openSync(path, 'wx', mode);
  try {
    fchmodSync(fd, mode);
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    if (sync) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Resolves once the content of a file is on the disk; this thread goes on meanwhile. Errors: see `systemError`. */
export async function syncFile(path: string): Promise<void> {
  let fd: number | null = null;
  try {
    const file = openSync(path, 'r');
    fd = file;
    await new Promise<void>((resolve, reject) => fdatasync(file, (error) => (error ? reject(error) : resolve())));
  } catch (error) {
    throw systemError(error, `sync ${path}`);
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

/**
 * Creates a directory (and its parents) that only we can enter, or tightens one that is ours.
 * Errors: `refused` / `not_our_directory` when somebody else owns it.
 */
export function privateDir(path: string): string {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(path);
    if (uid !== process.geteuid?.()) {
      throw new AppError('refused', 'not_our_directory', `${path} belongs to another user`, {
        hint: 'Choose a directory of your own.',
        data: { uid },
      });
    }
    if ((mode & 0o777) !== 0o700) chmodSync(path, 0o700);
    return path;
  } catch (error) {
    throw systemError(error, `create the directory ${path}`);
  }
}

/**
 * Begins to create a directory beside what the caller does next; never rejects. Only a head start for `privateDir`, which
 * must follow: it does what is left to do and says what is wrong.
 */
export async function makeAhead(path: string): Promise<void> {
  try {
    await promises.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) === '') throw error;
  }
}

/**
 * Writes a file for its owner alone, in place: for files that nobody reads while they are written. What has its name and
 * is no file of ours, as a pipe that a process of an earlier turn put there, is removed first.
 */
export function writePrivate(path: string, data: string): void {
  try {
    const fd = openOwn(path, 'replace');
    try {
      writeFileSync(fd, data);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw systemError(error, `write ${path}`);
  }
}

/** Makes sure that a file exists and is readable by its owner alone, whatever the umask says; its content is kept. */
export function privateFile(path: string): void {
  try {
    closeSync(openSync(path, 'a', 0o600));
    if ((statSync(path).mode & 0o777) !== 0o600) chmodSync(path, 0o600);
  } catch (error) {
    throw systemError(error, `create ${path}`);
  }
}

/** The last `n` bytes of a file (fewer when it is shorter, none when it is absent or no regular file). */
export function tailBytes(path: string, n: number): Buffer {
  let fd: number;
  try {
    fd = openRegular(path, 'follow');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'not_a_file') return Buffer.alloc(0);
    throw systemError(error, `read ${path}`);
  }
  try {
    const { size } = fstatSync(fd);
    const start = Math.max(0, size - n);
    return readRange(fd, start, size - start);
  } finally {
    closeSync(fd);
  }
}

/** Up to `length` bytes from `offset`; short only where the file ends. */
export function readRange(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const n = readSync(fd, bytes, done, length - done, offset + done);
    if (n === 0) break;
    done += n;
  }
  return bytes.subarray(0, done);
}

/** Bytes an ordinary user may still write where `path` is, or would be once created. */
export function diskFree(path: string): number {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch (error) {
    const parent = dirname(path);
    if (errnoOf(error) === 'ENOENT' && parent !== path) return diskFree(parent);
    throw systemError(error, `ask for the free space of ${path}`);
  }
}
