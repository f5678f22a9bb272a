import { createHash } from 'node:crypto';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { acquirePidLock, type PidLock } from '../sys/lock.ts';

const MAX_NAME = 60;

/** One file per target branch of a repository; the name is for people, the hash makes it the right one (O-84). */
export function mergeLockPath(home: string, repo_root: string, target: string): string {
  const name = target.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, MAX_NAME);
  const hash = createHash('sha256').update(`${repo_root}\0${target}`).digest('hex').slice(0, 12);
  return `${homePaths.run(home)}/merge-${name}-${hash}.lock`;
}

/**
 * The right to move one target branch (I21). That of a dead owner is free; different targets do not meet. Releasing it
 * twice does nothing. Throws `merge_running` (3) at once when a living process has it.
 */
export function lockTarget(home: string, repo_root: string, target: string): PidLock {
  const path = mergeLockPath(home, repo_root, target);
  const result = acquirePidLock(path);
  if (result.acquired) return result.lock;
  const owner = result.existing_pid === null ? 'another process' : `process ${result.existing_pid}`;
  throw new AppError('refused', 'merge_running', `${owner} is merging into ${target} just now (${path})`, {
    hint: 'Wait until it is done and try again; different targets do not stand in one another’s way.',
    unsafe_condition: `two merges into ${target} would build on the same commit`,
    would_change: `the branch ${target}`,
    preserved: 'nothing was changed',
    data: { path, pid: result.existing_pid, target },
  });
}
