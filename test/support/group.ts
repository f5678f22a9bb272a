import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { membersOf, probeCgroup, removeGroup } from '../../src/sys/cgroup.ts';
import { turnFiles } from '../../src/sys/turn-files.ts';

// reason: needs a cgroup v2 hierarchy in which this process may make groups
export const NO_GROUPS = probeCgroup().base === null ? ' [skipped: needs a delegated cgroup v2 hierarchy]' : '';

/** The control group of the turn in `dir`, or null where turns have none. */
export function groupIn(dir: string): string | null {
  const { group } = turnFiles(dir);
  return existsSync(group) ? readFileSync(group, 'utf8') : null;
}

/** Makes a running turn one as on a machine without control groups: its processes move out and its group goes. */
export function withoutGroup(dir: string): void {
  const group = groupIn(dir);
  if (group === null) return;
  while (!removeGroup(group)) for (const pid of membersOf(group)) move(pid, `${dirname(group)}/cgroup.procs`);
}

function move(pid: number, procs: string): void {
  try {
    writeFileSync(procs, String(pid));
  } catch (error) {
    // It has ended meanwhile.
    if ((error as { code?: string }).code !== 'ESRCH') throw error;
  }
}
