import { createHash } from 'node:crypto';
import { homePaths } from './home.ts';

const MAX_NAME = 60;

/** One target branch of one repository as a file's name: a part for people, and the hash that makes it the right one. */
function nameOf(repo_root: string, target: string): string {
  const name = target.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, MAX_NAME);
  const hash = createHash('sha256').update(`${repo_root}\0${target}`).digest('hex').slice(0, 12);
  return `merge-${name}-${hash}`;
}

/** As `nameOf` makes them. */
export const MERGE_NAME = /^merge-.*-[0-9a-f]{12}$/;

/** The lock of a target (O-84). */
export function mergeLockPath(home: string, repo_root: string, target: string): string {
  return lockOfMerge(home, nameOf(repo_root, target));
}

/** The same by the name alone. */
export function lockOfMerge(home: string, name: string): string {
  return `${homePaths.run(home)}/${name}.lock`;
}

/** Where results for a target are tried, by whoever has its lock: a checkout, and beside it what belongs to the trial. */
export function mergeTrialDir(home: string, repo_root: string, target: string): string {
  return `${homePaths.merges(home)}/${nameOf(repo_root, target)}`;
}
