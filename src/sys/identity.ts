import { closeSync, readFileSync } from 'node:fs';
import { AppError } from '../model/error.ts';
import { errnoOf } from './errno.ts';
import { libc } from './ffi.ts';

/**
 * Who a process is, for as long as the machine is up: a pid alone is reused, pid + start time + boot id is not.
 * `start_time` is field 22 of /proc/<pid>/stat (clock ticks since boot) as decimal text.
 */
export interface ProcessId {
  pid: number;
  start_time: string;
  boot_id: string;
}

/** What a row or a file may still know about a process; missing parts are not compared. */
export interface ProcessHint {
  pid?: number | null;
  start_time?: string | null;
  boot_id?: string | null;
}

export type Liveness = 'alive' | 'dead' | 'unknown';

/**
 * The fields of /proc/<pid>/stat that we use. `session` is the session id (setsid), `threads` the number of threads. `image`
 * says where its stack, its arguments and its environment lie, and so is another one after every exec; null: it does not say.
 */
export interface ProcessStat {
  pid: number;
  state: string;
  parent: number;
  session: number;
  threads: number;
  start_time: string;
  image: Image | null;
  /** A thread of the kernel's own, which has no environment (until it execs, and is none any more). */
  is_kernel: boolean;
}

interface Image {
  places: string;
  environment_bytes: number;
}

/** PF_KTHREAD of the flags in field 9. */
const KERNEL_THREAD = 0x00200000;

const PIDFD_SEND_SIGNAL = 424;
const PIDFD_OPEN = 434;

let boot: string | undefined;

/** The id of this boot of the kernel. Errors: `unavailable` / `proc_missing` where /proc is not mounted. */
export function bootId(): string {
  boot ??= readBootId();
  return boot;
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch (error) {
    throw new AppError('unavailable', 'proc_missing', `cannot read the boot id: ${String(error)}`, {
      hint: 'drover needs /proc (Linux, WSL) to tell processes apart.',
    });
  }
}

/** The text of /proc/<pid>/stat, split. The command name may contain blanks and brackets, so the last ')' counts. */
export function parseStat(text: string): ProcessStat | null {
  const close = text.lastIndexOf(')');
  const fields = text.slice(close + 2).split(' ');
  const start_time = fields[19];
  if (close < 0 || !start_time || !/^\d+$/.test(start_time)) return null;
  return {
    pid: Number.parseInt(text, 10),
    state: fields[0] ?? '',
    parent: Number(fields[1]),
    session: Number(fields[3]),
    threads: Number(fields[17]),
    start_time,
    image: imageOf(fields),
    is_kernel: (Number(fields[6]) & KERNEL_THREAD) !== 0,
  };
}

/** Fields 28 and 48 to 51, which are 0 for whom it does not concern, and while an exec is under way. */
function imageOf(fields: readonly string[]): Image | null {
  const places = [fields[25], fields[45], fields[46], fields[47], fields[48]];
  if (places.includes(undefined) || places.includes('0')) return null;
  return { places: places.join(' '), environment_bytes: Number(fields[48]) - Number(fields[47]) };
}

/** What the kernel says about a pid now, or null when there is no such process (or none we may see). */
export function processStat(pid: number): ProcessStat | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error))) return null;
    throw error;
  }
}

/** Dead but not yet collected by its parent. A dead main thread with living siblings is a living process. */
export function isZombie(stat: ProcessStat): boolean {
  return stat.state === 'X' || (stat.state === 'Z' && stat.threads <= 1);
}

/** The start time of a pid, or null when there is no such process. */
export function startTime(pid: number): string | null {
  return processStat(pid)?.start_time ?? null;
}

/** The full identity of a living pid, or null. */
export function identityOf(pid: number): ProcessId | null {
  const start_time = startTime(pid);
  return start_time === null ? null : { pid, start_time, boot_id: bootId() };
}

/** Errors: `unavailable` / `proc_missing` where /proc is not mounted. */
export function ownIdentity(): ProcessId {
  const boot_id = bootId();
  return { pid: process.pid, start_time: startTime(process.pid) ?? '', boot_id };
}

/**
 * H-30, H-31: no pid → unknown; ESRCH or pid ≤ 0 → dead; another boot, another start time, a zombie → dead;
 * EPERM → alive (somebody else's process is a process).
 */
export function liveness(id: ProcessHint | null | undefined): Liveness {
  const pid = id?.pid;
  if (pid === null || pid === undefined || !Number.isInteger(pid)) return 'unknown';
  if (pid <= 0) return 'dead';
  if (id?.boot_id && id.boot_id !== bootId()) return 'dead';
  if (!pidExists(pid)) return 'dead';
  const stat = processStat(pid);
  if (stat === null) return pidExists(pid) ? 'alive' : 'dead';
  if (isZombie(stat)) return 'dead';
  return id?.start_time && id.start_time !== stat.start_time ? 'dead' : 'alive';
}

/** A cheap poll (about 20 µs) for the end of a process that is not our child. */
export function isGone(id: ProcessId): boolean {
  return liveness(id) === 'dead';
}

/**
 * Sends a signal to exactly this process, or to nobody (I23): the pidfd is opened first and pins whatever has the pid,
 * then start time and boot are compared, then the signal goes through the pidfd. False when the process is gone, is
 * another one, is not fully known, or may not be signalled by us. Errors: `usage` / `unknown_signal`. The table of signals
 * is loaded here, because most callers only look: `node:os` costs half a millisecond.
 */
export function signal(id: ProcessId, name: NodeJS.Signals): boolean {
  const { constants } = require('node:os') as typeof import('node:os');
  const number = constants.signals[name];
  if (number === undefined) throw new AppError('usage', 'unknown_signal', `there is no signal ${name}`);
  if (!Number.isInteger(id.pid) || id.pid <= 0 || !id.start_time || id.boot_id !== bootId()) return false;
  const fd = libc().syscall(PIDFD_OPEN, id.pid, 0, 0, 0);
  if (fd < 0) return false;
  try {
    const stat = processStat(id.pid);
    if (stat === null || stat.start_time !== id.start_time || isZombie(stat)) return false;
    return libc().syscall(PIDFD_SEND_SIGNAL, fd, number, 0, 0) === 0;
  } finally {
    closeSync(fd);
  }
}

function pidExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}
