import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { AppError } from '../model/error.ts';
import { errnoOf } from './errno.ts';

/**
 * The absolute path of an executable, looked up on a PATH string (not on our own), or null. An absolute name is only
 * checked. Empty and relative entries of PATH are skipped: they would let a repository choose the program.
 */
export function which(name: string, path: string): string | null {
  if (isAbsolute(name)) return isExecutable(name) ? name : null;
  if (name === '' || name.includes('/')) return null;
  for (const dir of path.split(':')) {
    const candidate = join(dir, name);
    if (isAbsolute(dir) && isExecutable(candidate)) return candidate;
  }
  return null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch (error) {
    if (errnoOf(error) === '') throw error;
    return false;
  }
}

/**
 * What to execute for a program as a person wrote it: a bare name is looked up on `env.PATH`, a path is taken as it is
 * (relative to `cwd`) and not checked. Errors: `not_found` / `program_not_found`.
 */
export function findProgram(program: string, cwd: string, env: Record<string, string>): string {
  if (program.includes('/')) return resolve(cwd, program);
  const found = which(program, env.PATH ?? '');
  if (found !== null) return found;
  throw new AppError('not_found', 'program_not_found', `there is no program '${program}' on PATH`, {
    hint: 'Install it, or give its full path in the configuration.',
    data: { program },
  });
}
