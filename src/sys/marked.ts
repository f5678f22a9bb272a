import { readdirSync, readFileSync } from 'node:fs';
import { MARKER_VARIABLE } from '../model/marker.ts';
import { errnoOf, systemError } from './errno.ts';
import { bootId, isZombie, type ProcessId, processStat } from './identity.ts';

/** A living process that a turn has started, by its environment. */
export interface MarkedProcess {
  id: ProcessId;
  marker: string;
  /** The session it was started for, as its environment says. */
  session_id: string | null;
  command: string;
}

/**
 * Every living process whose environment carries a turn's marker and names `home` as its DROVER_HOME. Ourselves and
 * what we may not look at are left out. Needs /proc.
 */
export function markedProcesses(home: string): MarkedProcess[] {
  const found: MarkedProcess[] = [];
  for (const pid of readdirSync('/proc').map(Number).filter(Number.isInteger)) {
    if (pid <= 1 || pid === process.pid) continue;
    const variables = environmentOf(pid);
    const marker = variables.get(MARKER_VARIABLE);
    if (!marker || variables.get('DROVER_HOME') !== home) continue;
    const stat = processStat(pid);
    if (stat === null || isZombie(stat)) continue;
    const id = { pid, start_time: stat.start_time, boot_id: bootId() };
    const command = textOf(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 120);
    found.push({ id, marker, session_id: variables.get('DROVER_SESSION_ID') ?? null, command });
  }
  return found;
}

function environmentOf(pid: number): Map<string, string> {
  const entries = textOf(`/proc/${pid}/environ`).split('\0');
  return new Map(
    entries.map((entry): [string, string] => {
      const at = entry.indexOf('=');
      return [entry.slice(0, Math.max(0, at)), entry.slice(at + 1)];
    }),
  );
}

/** Nothing when the process is gone or somebody else's. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error))) return '';
    throw systemError(error, `read ${path}`);
  }
}
