import { accessSync, constants, statSync } from 'node:fs';
import { AppError, type ErrorKind } from '../model/error.ts';

/** What an errno means to us: the kind, a stable code, and one sentence with a way out. */
const MEANING: Record<string, [kind: ErrorKind, code: string, hint: string]> = {
  ENOENT: ['not_found', 'file_not_found', 'Check that the path exists.'],
  ENOTDIR: ['not_found', 'file_not_found', 'A part of the path is a file, not a directory.'],
  EACCES: ['refused', 'permission_denied', 'Check owner and mode of the path.'],
  EPERM: ['refused', 'permission_denied', 'Check owner and mode of the path.'],
  EROFS: ['refused', 'read_only_filesystem', 'Choose a writable place.'],
  EMFILE: [
    'unavailable',
    'too_many_open_files',
    'Raise the limit of open files (ulimit -n) or run fewer turns at once.',
  ],
  ENFILE: ['unavailable', 'too_many_open_files', 'The machine has no file handles left.'],
  EAGAIN: ['unavailable', 'too_many_processes', 'The limit of processes is reached; run fewer turns at once.'],
  ENOMEM: ['unavailable', 'out_of_memory', 'Free some memory or run fewer turns at once.'],
  E2BIG: ['usage', 'arguments_too_long', 'Pass long text by file or stdin, not as an argument.'],
  ENOSPC: ['unavailable', 'disk_full', 'Free some disk space.'],
  EDQUOT: ['unavailable', 'disk_full', 'The disk quota is used up.'],
};

/** The errno name of a thrown value (`'ENOENT'`), or '' when it carries none. */
export function errnoOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}

/**
 * A system error as an `AppError` that names the act it broke (`what` = "write /x/y"). An errno without an entry
 * becomes `failed` / `system_error` and keeps the system's own words.
 */
export function systemError(error: unknown, what: string): AppError {
  if (error instanceof AppError) return error;
  const errno = errnoOf(error);
  const [kind, code, hint] = MEANING[errno] ?? ['failed', 'system_error', 'The operating system refused.'];
  const words = error instanceof Error ? error.message : String(error);
  return new AppError(kind, code, `cannot ${what}: ${words}`, { hint, data: { errno } });
}

/**
 * Says about a working directory what a failed spawn cannot (its ENOENT may mean the program).
 * Errors: `not_found` / `cwd_not_found`, `refused` / `permission_denied`.
 */
export function checkWorkingDirectory(cwd: string): void {
  try {
    if (!statSync(cwd).isDirectory()) throw new AppError('not_found', 'cwd_not_found', `${cwd} is not a directory`);
    accessSync(cwd, constants.X_OK);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') {
      throw new AppError('not_found', 'cwd_not_found', `the working directory ${cwd} does not exist`, {
        hint: 'Was it moved or removed? Put it back where it was first.',
      });
    }
    throw systemError(error, `enter ${cwd}`);
  }
}
