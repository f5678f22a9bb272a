import { closeSync, constants, lstatSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from './errno.ts';
import { writeAtomic } from './files.ts';

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Writes a file below a directory, in one step, and makes the directories in between. No link is followed on the way, also
 * none that is put there meanwhile: each directory is opened from the one above it. Throws `outside_root` (3) for a path
 * that leads out of the root or through a link, `not_a_file` (1) when something else has the name. Needs /proc.
 */
export function writeBelow(root: string, path: string, data: string, mode = 0o644): void {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) throw outside(path);
  const open: number[] = [];
  try {
    open.push(openSync(root, constants.O_RDONLY | constants.O_DIRECTORY));
    for (const name of dirname(path) === '.' ? [] : dirname(path).split('/'))
      open.push(step(open.at(-1) ?? -1, name, path));
    const place = below(open.at(-1) ?? -1, parts.at(-1) ?? '');
    const stat = lstatSync(place, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink()) throw outside(path);
    if (stat !== undefined && !stat.isFile())
      throw new AppError('failed', 'not_a_file', `cannot write ${join(root, path)}: something else has that name`);
    writeAtomic(place, data, mode, { sync: true });
  } catch (error) {
    throw named(systemError(error, `write ${join(root, path)}`), dirname(join(root, path)));
  } finally {
    for (const fd of open) closeSync(fd);
  }
}

function below(fd: number, name: string): string {
  return `/proc/self/fd/${fd}/${name}`;
}

function step(fd: number, name: string, path: string): number {
  const place = below(fd, name);
  try {
    mkdirSync(place);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  try {
    return openSync(place, DIRECTORY);
  } catch (error) {
    if (errnoOf(error) === 'ELOOP' || errnoOf(error) === 'ENOTDIR') throw outside(path);
    throw error;
  }
}

function outside(path: string): AppError {
  return new AppError('refused', 'outside_root', `${path} leads through a link, or out of its directory.`, {
    hint: 'Name a path below the repository whose directories are directories.',
    preserved: 'nothing was written',
  });
}

/** Descriptors say nothing to people. */
function named(error: AppError, dir: string): AppError {
  return new AppError(error.kind, error.code, error.message.replaceAll(/\/proc\/self\/fd\/\d+/g, dir), error.details);
}
