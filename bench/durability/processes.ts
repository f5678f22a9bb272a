import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { errnoOf } from '../../src/sys/errno.ts';
import { bootId, isZombie, type ProcessId, processStat, signal } from '../../src/sys/identity.ts';

/** Inherited by every process of a campaign's home. */
export const CAMPAIGN_VARIABLE = 'DURABILITY_CAMPAIGN';

/** A living process of a campaign. `session` and `turn` are null outside of a turn. */
export interface Found {
  identity: ProcessId;
  kind: 'launcher' | 'harness' | 'supervisor' | 'watchdog' | 'other';
  command: string;
  session: string | null;
  turn: string | null;
  parent: number;
}

/** Living processes whose environment names the campaign, without ourselves. */
export function processesOf(campaign: string): Found[] {
  const boot_id = bootId();
  const entry = `\0${CAMPAIGN_VARIABLE}=${campaign}\0`;
  const found: Found[] = [];
  for (const pid of readdirSync('/proc').map(Number).filter(Number.isInteger)) {
    if (pid === process.pid) continue;
    const environ = `\0${read(pid, 'environ')}`;
    if (!environ.includes(entry)) continue;
    const stat = processStat(pid);
    if (stat === null || isZombie(stat)) continue;
    const command = read(pid, 'cmdline').replaceAll('\0', ' ').trim();
    const value = (name: string) => new RegExp(`\\0${name}=([^\\0]*)\\0`).exec(environ)?.[1] ?? null;
    const session = value('DROVER_SESSION_ID');
    found.push({
      identity: { pid, start_time: stat.start_time, boot_id },
      kind: kindOf(command, session),
      ...{ command, session, turn: value('DROVER_TURN'), parent: stat.parent },
    });
  }
  return found;
}

function kindOf(command: string, session: string | null): Found['kind'] {
  if (session === null) {
    if (/ up --foreground/.test(command)) return 'supervisor';
    return / watch( |$)/.test(command) ? 'watchdog' : 'other';
  }
  if (/launcher/.test(command)) return 'launcher';
  return /bench\/bin\//.test(command) ? 'harness' : 'other';
}

/** Whom a pid lock names, when its three lines are whole; says nothing about whether it lives. */
export function lockOwner(path: string): ProcessId | null {
  const [pid = '', start_time = '', boot_id = ''] = text(path).split('\n');
  return /^[1-9]\d*$/.test(pid) && start_time && boot_id ? { pid: Number(pid), start_time, boot_id } : null;
}

/** Has it a file open whose name ends with `suffix`? */
export function hasOpen(pid: number, suffix: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`).endsWith(suffix));
  } catch (error) {
    if (isGoneError(error)) return false;
    throw error;
  }
}

/** SIGKILL for exactly this process; false when it is gone. */
export function slay(identity: ProcessId): boolean {
  return signal(identity, 'SIGKILL');
}

const read = (pid: number, file: string) => text(`/proc/${pid}/${file}`);

function text(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (isGoneError(error)) return '';
    throw error;
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isGoneError(error)) return '';
    throw error;
  }
}

const isGoneError = (error: unknown) => ['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error));
