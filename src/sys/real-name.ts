import { lstatSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative } from 'node:path';
import type { RealName } from '../model/checkout-path.ts';
import { errnoOf } from './errno.ts';

/**
 * Follows the links of a checkout as they are now, for one batch of names: each directory is asked about once. What is not
 * there (any more), or cannot be looked at, counts as it is called.
 */
export function realNames(): RealName {
  const known = new Map<string, string>();
  const realOf = (path: string): string => {
    const before = known.get(path);
    if (before !== undefined) return before;
    const real = tryReal(path) ?? (dirname(path) === path ? path : join(realOf(dirname(path)), basename(path)));
    known.set(path, real);
    return real;
  };
  return (root, path) => {
    const place = join(realOf(dirname(join(root, path))), basename(path));
    const found = relative(realOf(root), isLink(place) ? realOf(place) : place);
    const isOutside = found === '' || found === '..' || found.startsWith('../') || isAbsolute(found);
    return isOutside || found === '.git' || found.startsWith('.git/') ? path : found;
  };
}

function tryReal(path: string): string | null {
  try {
    return realpathSync(path);
  } catch (error) {
    if (errnoOf(error) === '') throw error;
    return null;
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  } catch (error) {
    if (errnoOf(error) === '') throw error;
    return false;
  }
}
