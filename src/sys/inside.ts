import { readdirSync, readlinkSync } from 'node:fs';
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
