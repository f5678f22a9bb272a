import { readFileSync } from 'node:fs';
import { errnoOf, systemError } from './errno.ts';
import { processStat } from './identity.ts';

/** Nobody's shells are nested deeper; a loop cannot exist, but a bound costs nothing. */
const MAX_DEPTH = 64;

/**
 * The values a variable has in the environments this process and its ancestors were started with, nearest first, without
 * repeats. A child can clear its own environment but not its parent's, so this tells where a process comes from.
 */
export function inheritedValues(variable: string): string[] {
  const values = new Set<string>();
  for (const pid of lineage()) {
    const value = startEnvironment(pid).find((entry) => entry.startsWith(`${variable}=`));
    if (value !== undefined) values.add(value.slice(variable.length + 1));
  }
  return [...values];
}

/** Pids of this process and its ancestors, nearest first. */
export function lineage(): number[] {
  const pids: number[] = [];
  for (let pid = process.pid; pids.length < MAX_DEPTH && pid > 1; pid = processStat(pid)?.parent ?? 0) pids.push(pid);
  return pids;
}

/** Entries of `/proc/<pid>/environ`; none when the process is gone or not ours to look at. */
function startEnvironment(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error))) return [];
    throw systemError(error, `read the environment of process ${pid}`);
  }
}
