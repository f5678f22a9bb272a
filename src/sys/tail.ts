import { closeSync, type FSWatcher, fstatSync, readSync, watch } from 'node:fs';
import { AppError } from '../model/error.ts';
import { systemError } from './errno.ts';
import { readRange } from './files.ts';
import { openRegular } from './regular-file.ts';

/**
 * Up to `maxBytes` of a growing file from byte `offset`; empty at its end. `file` is a path or an open descriptor.
 * Errors: `failed` / `file_shrank` when the file is shorter than `offset` (somebody cut what was already read).
 */
export function readFrom(file: string | number, offset: number, maxBytes: number): Buffer {
  if (typeof file === 'number') return readOpen(file, offset, maxBytes);
  const tail = openTail(file);
  try {
    return readOpen(tail.fd, offset, maxBytes);
  } finally {
    tail.close();
  }
}

/** A growing file, open for reading. */
export interface Tail {
  fd: number;
  close(): void;
}

/** Errors: `failed` / `not_a_file` for a pipe, a link or a directory; else as `systemError`. */
export function openTail(path: string): Tail {
  try {
    const fd = openRegular(path);
    return { fd, close: () => closeSync(fd) };
  } catch (error) {
    throw systemError(error, `read ${path}`);
  }
}

/** Most looks find one short line: it is read into here first, which spares asking for the size. */
const PEEK = Buffer.allocUnsafeSlow(16 * 1024);

function readOpen(fd: number, offset: number, maxBytes: number): Buffer {
  const wanted = Math.min(PEEK.length, maxBytes);
  const n = readSync(fd, PEEK, 0, wanted, offset);
  if (n === 0) checkSize(fd, offset);
  const head = Buffer.from(PEEK.subarray(0, n));
  return n < wanted || n === maxBytes ? head : Buffer.concat([head, readRange(fd, offset + n, maxBytes - n)]);
}

/** What `readNext` reads at once. */
export const NEXT_BYTES = 512 * 1024;
const next = Buffer.allocUnsafeSlow(NEXT_BYTES);

/**
 * Like `readFrom`, up to `NEXT_BYTES`, but always into the same memory: what it returns is valid until the next call.
 * For the supervisor, to whom a buffer of its own for every look is a good part of the price of it.
 */
export function readNext(fd: number, offset: number): Buffer {
  const n = readSync(fd, next, 0, NEXT_BYTES, offset);
  if (n === 0) checkSize(fd, offset);
  return next.subarray(0, n);
}

function checkSize(fd: number, offset: number): void {
  const { size } = fstatSync(fd);
  if (size >= offset) return;
  throw new AppError('failed', 'file_shrank', `a file that only grows is now ${size} bytes, ${offset} were read`);
}

export interface Watch {
  close(): void;
}

/**
 * Calls `onChange` with the name of the entry when something in a directory changes (null: unknown which). Events are
 * hints and may be merged; the last state is always seen by whoever looks after the event. Failures, at once or later,
 * go to `onError`; nothing is ever thrown from the watcher.
 */
export function watchDirectory(
  dir: string,
  onChange: (name: string | null) => void,
  onError: (error: AppError) => void,
): Watch {
  let watcher: FSWatcher;
  try {
    watcher = watch(dir, { persistent: false }, (_event, name) => onChange(typeof name === 'string' ? name : null));
  } catch (error) {
    onError(systemError(error, `watch ${dir}`));
    return { close: () => undefined };
  }
  watcher.on('error', (error) => onError(systemError(error, `watch ${dir}`)));
  return { close: () => watcher.close() };
}
