import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
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
