import { isAbsolute, normalize, relative } from 'node:path';
import type { SessionRow } from './session.ts';

/** Where a session works: what its tools' paths are relative to, and what they must stay below. */
export type Workplace = Pick<SessionRow, 'repo_root' | 'working_dir' | 'worktree_path'>;

/**
 * What a path below `root`, relative to that, is called when links in it are followed; the path as it is where that leads
 * out of the root.
 */
export type RealName = (root: string, path: string) => string;

/** For who looks at names only. */
export const AS_NAMED: RealName = (_root, path) => path;

/**
 * A path as a tool named it, relative to the root of the checkout; null for what lies outside of it, for the root itself and
 * for git's own files. The text decides that, no file is asked: `..` takes a name away and cannot lead out. Only then
 * `real_name` follows links, so that a file has one name, whichever way it was reached. (Of a session that works in a person's own linked worktree only its working
 * directory is known: that stands for the root.)
 */
export function checkoutPath(at: Workplace, named: string, real_name = AS_NAMED): string | null {
  if (named === '' || named.includes('\0')) return null;
  const root = at.worktree_path ?? (isBelow(at.repo_root, at.working_dir) ? at.repo_root : at.working_dir);
  const absolute = normalize(isAbsolute(named) ? named : `${at.working_dir}/${named}`);
  const path = relative(root, absolute.length > 1 && absolute.endsWith('/') ? absolute.slice(0, -1) : absolute);
  if (path === '' || path === '..' || path.startsWith('../') || isAbsolute(path)) return null;
  return path === '.git' || path.startsWith('.git/') ? null : real_name(root, path);
}

function isBelow(root: string, dir: string): boolean {
  return dir === root || dir.startsWith(root === '/' ? root : `${root}/`);
}
