import { readdirSync, readFileSync } from 'node:fs';
import { chargedBytes, groupMembers, turnGroupOf } from './cgroup.ts';
import { errnoOf, systemError } from './errno.ts';
import { bootId, type ProcessId } from './identity.ts';
import { residentBytes } from './memory.ts';
import { TICK_MS } from './tree.ts';

/** What all processes of one turn use together. */
export interface TreeSample {
  processes: number;
  members: number[];
  /** Resident memory, pages that several of them share counted once for each. */
  rss_bytes: number;
  /** CPU time of the living ones and of the children they have collected: it falls when one ends that nobody collects. */
  cpu_ms: number;
}

/** Key of the page size in the list the kernel hands to every program. */
const AT_PAGESZ = 6n;

interface Usage {
  pid: number;
  parent: number;
  session: number;
  start_time: string;
  ticks: number;
  pages: number;
}

/**
 * What the turns of these launchers use, by the launcher's pid; a launcher that has ended (pid + start time + boot id)
 * has no entry. One pass over /proc for all of them: about 15 µs per process of the machine, whosever they are, and 40 µs per
 * turn in a control group of its own.
 *
 * A process counts for a turn when it is in the launcher's session or control group, or descends from one that counts.
 * Environments are not read: without a control group, a daemon that left the session and lost its parent is not seen,
 * which is good enough for figures; the end of a turn looks closer (`killTree`).
 */
export function sampleTrees(launchers: readonly ProcessId[]): Map<number, TreeSample> {
  const samples = new Map<number, TreeSample>();
  if (launchers.length === 0) return samples;
  const usages = new Map<number, Usage>();
  const children = new Map<number, number[]>();
  const sessions = new Map<number, number[]>();
  for (const pid of processIds()) {
    const usage = usageOf(pid);
    if (usage === null) continue;
    usages.set(pid, usage);
    append(children, usage.parent, pid);
    append(sessions, usage.session, pid);
  }
  for (const launcher of launchers) {
    if (launcher.boot_id !== bootId() || usages.get(launcher.pid)?.start_time !== launcher.start_time) continue;
    // A member whose pid was given to somebody else between two reads would have to be reused within this pass.
    const members = new Set([launcher.pid, ...(sessions.get(launcher.pid) ?? []), ...groupMembers(launcher)]);
    for (const pid of members) for (const child of children.get(pid) ?? []) members.add(child);
    samples.set(launcher.pid, sumOf([...members].flatMap((pid) => usages.get(pid) ?? [])));
  }
  return samples;
}

/**
 * What a turn really holds, in bytes, at most its `rss_bytes`: what its control group is charged for, without the page
 * cache, which the kernel drops by itself; where groups do not count memory, pages that several processes share (what was
 * there before a fork, programs) are divided among them. Costs milliseconds per gigabyte: for a turn that seems too large.
 */
export function heldBytes(launcher: ProcessId, { members, rss_bytes }: TreeSample): number {
  const group = turnGroupOf(launcher);
  const charged = group === null ? null : chargedBytes(group);
  const held = charged ?? members.reduce((sum, pid) => sum + proportionalBytes(pid), 0);
  return Math.min(held, rss_bytes);
}

function proportionalBytes(pid: number): number {
  try {
    const line = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'));
    if (line !== null) return Number(line[1]) * 1024;
  } catch (error) {
    if (errnoOf(error) === '') throw error;
  }
  // Hidden from us, or an older kernel: every page counts for each.
  return residentBytes(pid);
}

function sumOf(members: readonly Usage[]): TreeSample {
  const total = (of: (usage: Usage) => number) => members.reduce((sum, usage) => sum + of(usage), 0);
  return {
    processes: members.length,
    members: members.map(({ pid }) => pid),
    rss_bytes: total((usage) => usage.pages) * pageBytes(),
    cpu_ms: total((usage) => usage.ticks) * TICK_MS,
  };
}

function append(map: Map<number, number[]>, at: number, pid: number): void {
  const list = map.get(at);
  if (list) list.push(pid);
  else map.set(at, [pid]);
}

function processIds(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger);
  } catch (error) {
    throw systemError(error, 'list /proc');
  }
}

/** null for a process that is gone, or not ours to see; a dead one that waits to be collected uses no memory. */
function usageOf(pid: number): Usage | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error))) return null;
    throw systemError(error, `read the usage of process ${pid}`);
  }
  // Fields are counted from 3 here: the command name, field 2, may contain anything, so the last bracket counts.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ', 22);
  const number = (field: number) => Number(fields[field - 3] ?? 0);
  return {
    pid,
    parent: number(4),
    session: number(6),
    start_time: fields[22 - 3] ?? '',
    ticks: number(14) + number(15) + number(16) + number(17),
    pages: number(24),
  };
}

let page: number | undefined;

/** 4096 on x86-64; arm64 kernels also come with 16 and 64 KiB. */
function pageBytes(): number {
  page ??= readPageBytes();
  return page;
}

function readPageBytes(): number {
  const list = readFileSync('/proc/self/auxv');
  for (let at = 0; at + 16 <= list.length; at += 16) {
    if (list.readBigUInt64LE(at) === AT_PAGESZ) return Number(list.readBigUInt64LE(at + 8));
  }
  return 4096;
}
