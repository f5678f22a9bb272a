import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from './errno.ts';
import { readTextIfExists } from './read-text.ts';

/**
 * The text of a regular file that lies below `dir`, or null when there is none. Links are followed as far as they stay
 * inside, whatever `path` says. Errors: `refused` / `outside`; those of `readTextIfExists`.
 */
export function readInside(dir: string, path: string, max_bytes: number): string | null {
  const root = realOf(dir);
  const real = root === null ? null : realOf(join(root, path));
  if (root === null || real === null) return null;
  if (real.startsWith(`${root === '/' ? '' : root}/`)) return readTextIfExists(real, max_bytes);
  throw new AppError('refused', 'outside', `${path} lies outside of ${dir}`, { preserved: 'nothing was read' });
}

function realOf(path: string): string | null {
  try {
    return realpathSync(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(errnoOf(error))) return null;
    throw systemError(error, `look at ${path}`);
  }
}
