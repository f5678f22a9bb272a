import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { errnoOf, systemError } from './errno.ts';

/** Pids of processes that work in `dir` or below it, ourselves included. `dir` is a real path. Needs /proc. */
export function processesInside(dir: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && isInside(pid, dir));
}

function isInside(pid: number, dir: string): boolean {
  try {
    const cwd = readlinkSync(`/proc/${pid}/cwd`);
    return cwd === dir || cwd.startsWith(`${dir}/`);
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error))) return false;
    throw systemError(error, `look where process ${pid} works`);
  }
}

/** Pids of processes that were given `path` as an argument of its own, like a git that makes a worktree there. Needs /proc. */
export function processesNaming(path: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid && argumentsOf(pid).includes(path));
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error))) return [];
    throw systemError(error, `look at process ${pid}`);
  }
}
