import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from './errno.ts';

/** No settings, page or record is longer; what is longer was put there by somebody else. */
const MAX_TEXT_BYTES = 16 * 1024 * 1024;

/**
 * The text of a file, or null when there is none. Some of these paths lie where agents and repositories write: a pipe
 * would stop us for ever and a device would never end, so only regular files up to `max_bytes` (16 MiB) are read.
 * Errors: `failed` / `not_a_file`, `file_too_large`; anything but absence, as `systemError`.
 */
export function readTextIfExists(path: string, max_bytes = MAX_TEXT_BYTES): string | null {
  let fd: number | null = null;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new AppError('failed', 'not_a_file', `cannot read ${path}: it is no regular file`);
    if (stat.size > max_bytes)
      throw new AppError('failed', 'file_too_large', `cannot read ${path}: it has ${stat.size} bytes`);
    return readFileSync(fd, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw systemError(error, `read ${path}`);
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

/** A file that was changed this recently may be changed again within the same tick of its clock. */
const FRESH_MS = 2_000;

const pages = new Map<string, { stamp: string; text: string }>();

/**
 * As `readTextIfExists`, for the few pages that every start of a turn asks for: read anew when the file was changed, and
 * otherwise only looked at.
 */
export function readPage(path: string): string | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return null;
  const stamp = `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
  const known = pages.get(path);
  if (known?.stamp === stamp) return known.text;
  const text = readTextIfExists(path);
  if (text !== null && Date.now() - stat.mtimeMs > FRESH_MS) pages.set(path, { stamp, text });
  return text;
}
