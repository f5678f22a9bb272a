import { readFileSync } from 'node:fs';
import { errnoOf, systemError } from './errno.ts';

/** Resident memory of a process in bytes, shared pages included; 0 when it is gone or not ours to see. */
export function residentBytes(pid: number): number {
  try {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return Number(line?.[1] ?? 0) * 1024;
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error))) return 0;
    throw systemError(error, `read the memory of process ${pid}`);
  }
}
