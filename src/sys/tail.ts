import { closeSync, type FSWatcher, fstatSync, openSync, readSync, watch } from 'node:fs';
import { AppError } from '../model/error.ts';
import { systemError } from './errno.ts';
import { readRange } from './files.ts';

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

export function openTail(path: string): Tail {
  try {
    const fd = openSync(path, 'r');
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
