import { readTextIfExists } from '../sys/read-text.ts';

/** The process that called us: the shell of a person, or an agent. Empty when nobody may look at it. */
export function parentArgv(): string[] {
  return (readTextIfExists(`/proc/${process.ppid}/cmdline`) ?? '').split('\0').filter((word) => word !== '');
}
