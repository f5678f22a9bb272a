import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, normalize } from 'node:path';
import type { CommandKind } from '../model/marker.ts';
import { lineage } from './ancestry.ts';
import { placeKey } from './directory.ts';
import { errnoOf, systemError } from './errno.ts';
import { type ProcessId, startTime } from './identity.ts';

/**
 * Control groups (cgroup v2): a process is born into its parent's group and cannot hide from it, whatever it does to
 * its environment, its session and its parents. Where the group we run in lets us make groups below it, every turn gets
 * one of its own, and every run of a gate or a hook; no limit is set in it, it only tells who belongs.
 */
export interface GroupProbe {
  /** The group below which turns get theirs; null where that cannot be. */
  base: string | null;
  /** For people: where, or why not. */
  reason: string;
}

const PREFIX = 'drover-';
const TRIAL = `${PREFIX}probe-`;
/** Names are for everybody to read, and markers are secrets. */
const TAG_LENGTH = 8;
const MARK_LENGTH = 24;
/** What the kernel says when a group has gone, or a process. */
const GONE = ['ENOENT', 'ENODEV', 'ESRCH'];
const DENIED = ['EACCES', 'EPERM', 'EROFS'];

let probed: GroupProbe | undefined;

/** Tries once per process, with a process of its own (3 ms), whether turns can have control groups. Never throws. */
export function probeCgroup(): GroupProbe {
  probed ??= probe();
  return probed;
}

function probe(): GroupProbe {
  const base = groupOfProcess('self');
  if (base === null) return { base: null, reason: 'no cgroup v2 hierarchy is mounted that shows the group we run in' };
  const trial = `${base}/${TRIAL}${process.pid}`;
  try {
    // One of our pid that was cut off would stand in the way.
    removeLeaf(trial);
    mkdirSync(trial);
    try {
      // Joining needs more rights than making: the common ancestor's cgroup.procs is asked as well.
      const { exitCode } = Bun.spawnSync(['/bin/sh', '-c', 'read -r line </proc/self/cgroup'], { cgroup: trial });
      if (exitCode !== 0) return { base: null, reason: `a process in a group below ${base} ended with ${exitCode}` };
      if (!existsSync(`${trial}/cgroup.kill`))
        return { base: null, reason: 'the kernel has no cgroup.kill (Linux 5.14)' };
      writeFileSync(`${trial}/cgroup.kill`, '1');
    } finally {
      removeLeaf(trial);
    }
  } catch (error) {
    if (errnoOf(error) === '') throw error;
    return { base: null, reason: `no group of our own below ${base}: ${errnoOf(error)}` };
  }
  return { base, reason: `every turn gets a group below ${base}` };
}

/** The group a turn starts in, or (`kind`) a gate or a hook, just made; null where there can be none. */
export function makeGroup(home: string, marker: string, kind?: CommandKind): string | null {
  const { base } = probeCgroup();
  if (base === null) return null;
  const group = `${base}/${prefixOf(home)}${kind === undefined ? '' : `${kind}-`}${digest(marker, MARK_LENGTH)}`;
  try {
    mkdirSync(group);
  } catch (error) {
    // Left by a start that was cut off.
    if (errnoOf(error) === 'EEXIST') return group;
    if (errnoOf(error) === '') throw error;
    // A limit on groups, or our own one is gone: the turn's marker is there as well.
    return null;
  }
  return group;
}

/**
 * The group of a turn, while there is one. `recorded` comes from a file that the turn's own processes could have
 * written: only a group whose name was made of the turn's marker counts.
 */
export function findGroup(marker: string, recorded: string | null): string | null {
  const ending = `-${digest(marker, MARK_LENGTH)}`;
  const isNamed = (path: string) => basename(path).startsWith(PREFIX) && path.endsWith(ending);
  const mount = mountOf();
  if (mount === null) return null;
  if (recorded !== null && recorded === normalize(recorded) && recorded.startsWith(`${mount.point}/`)) {
    if (isNamed(recorded)) return existsSync(recorded) ? recorded : null;
  }
  const base = groupOfProcess('self');
  const name = base === null ? undefined : groupsIn(base).find(isNamed);
  return name === undefined ? null : `${base}/${name}`;
}

/** Pids in a group and in all groups below it, never our own; none when it is gone. */
export function membersOf(group: string): number[] {
  const own = readIfThere(`${group}/cgroup.procs`).split('\n').filter(Boolean).map(Number);
  const inner = groupsIn(group).flatMap((name) => membersOf(`${group}/${name}`));
  // 0: a member that our namespace does not show.
  return [...own, ...inner].filter((pid) => pid > 1 && pid !== process.pid);
}

/** The members of the turn's group that a launcher lives in; none when it lives in no such group. */
export function groupMembers(launcher: ProcessId): number[] {
  const group = turnGroupOf(launcher);
  return group === null ? [] : membersOf(group);
}

/**
 * Bytes that a group and those below it are charged for and that cannot simply be dropped: page cache, which
 * `memory.current` counts as well, is not among them. Null where the memory controller is not on.
 */
export function chargedBytes(group: string): number | null {
  const stat = readIfThere(`${group}/memory.stat`);
  const sizes = ['anon', 'shmem'].map((name) => new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1]);
  return sizes.includes(undefined) ? null : sizes.reduce((sum, size) => sum + Number(size), 0);
}

/** The turn's group that a launcher lives in; null when it lives in no such group. */
export function turnGroupOf({ pid }: ProcessId): string | null {
  const group = groupOfProcess(pid);
  return group !== null && basename(group).startsWith(PREFIX) ? group : null;
}

/**
 * SIGKILL for all members at once, which no fork outruns. `spared` is moved out before, so that it can go on. False
 * when it was not sent: the group is gone, we are in it ourselves, or the spared one could not be moved.
 */
export function killGroup(group: string, spared: ProcessId | null): boolean {
  const own = groupOfProcess('self');
  if (own === null || `${own}/`.startsWith(`${group}/`)) return false;
  try {
    if (spared !== null && startTime(spared.pid) === spared.start_time && membersOf(group).includes(spared.pid)) {
      writeFileSync(`${dirname(group)}/cgroup.procs`, String(spared.pid));
    }
    writeFileSync(`${group}/cgroup.kill`, '1');
    return true;
  } catch (error) {
    if ([...GONE, ...DENIED, 'EBUSY', 'EAGAIN', 'EOPNOTSUPP'].includes(errnoOf(error))) return false;
    throw systemError(error, `end the processes of ${group}`);
  }
}

/** Removes an empty group and those below it; false while somebody is in there. */
export function removeGroup(group: string): boolean {
  if (removeLeaf(group)) return true;
  const inner = groupsIn(group);
  return inner.length > 0 && inner.every((name) => removeGroup(`${group}/${name}`)) && removeLeaf(group);
}

function removeLeaf(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    if (errnoOf(error) === '') throw error;
    return GONE.includes(errnoOf(error));
  }
}

/**
 * Removes empty groups of turns of this home, and of trials that were cut off; only for who holds the home's lock, before
 * any turn starts. Returns how many.
 */
export function removeEmptyGroups(home: string): number {
  const { base } = probeCgroup();
  if (base === null) return 0;
  const prefix = prefixOf(home);
  const isOver = (name: string) => name.startsWith(TRIAL) && startTime(Number(name.slice(TRIAL.length))) === null;
  const mine = groupsIn(base).filter((name) => name.startsWith(prefix) || isOver(name));
  return mine.filter((name) => removeGroup(`${base}/${name}`)).length;
}

/**
 * The group for a process that serves a whole home: when we run inside a turn of this home, the one around it, or the
 * turn's end would end the server too. Null: where we are is right (inside a turn of another home, too: what a turn
 * starts for itself goes with it).
 */
export function groupOutsideTurns(home: string): string | null {
  const own = groupOfProcess('self');
  const at = own?.indexOf(`/${prefixOf(home)}`) ?? -1;
  return own === null || at < 0 ? null : own.slice(0, at);
}

/** A group made for a turn or a command of a home. */
export interface GroupAround {
  kind: 'turn' | CommandKind;
  /** Was it made of this marker? */
  isOf(marker: string): boolean;
}

/**
 * The groups of this home that we, or a living ancestor, are in; innermost first. Read from what the kernel says alone,
 * so that it holds whatever is mounted where.
 */
export function groupsAround(home: string): GroupAround[] {
  const prefix = prefixOf(home);
  const names = new Set(lineage().flatMap((pid) => (ownPath(pid) ?? '').split('/').reverse()));
  return [...names].flatMap((name) => {
    const [, kind = '', mark = ''] = OF_OURS.exec(name.startsWith(prefix) ? name.slice(prefix.length) : '') ?? [];
    if (mark === '') return [];
    const isOf = (marker: string) => digest(marker, MARK_LENGTH) === mark;
    return [{ kind: kind === '' ? 'turn' : (kind.slice(0, -1) as CommandKind), isOf }];
  });
}

const OF_OURS = /^(gate-|hook-|)([0-9a-f]{24})$/;

/** How the names of a home's groups begin, by whatever path the home is reached. */
function prefixOf(home: string): string {
  return `${PREFIX}${digest(existsSync(home) ? placeKey(home) : home, TAG_LENGTH)}-`;
}

function digest(text: string, length: number): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('hex').slice(0, length);
}

function groupsIn(group: string): string[] {
  try {
    return readdirSync(group, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch (error) {
    if ([...GONE, ...DENIED].includes(errnoOf(error))) return [];
    throw systemError(error, `list the groups in ${group}`);
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    // EOPNOTSUPP: a threaded group; its processes are told by the group around it.
    if ([...GONE, ...DENIED, 'EOPNOTSUPP'].includes(errnoOf(error))) return '';
    throw systemError(error, `read ${path}`);
  }
}

/** Where the cgroup v2 hierarchy is mounted, and which part of it; null when it is not. */
function mountOf(): { point: string; root: string } | null {
  mount ??= { found: readMount() };
  return mount.found;
}

let mount: { found: { point: string; root: string } | null } | undefined;

function readMount(): { point: string; root: string } | null {
  for (const line of readIfThere('/proc/self/mountinfo').split('\n')) {
    const [fields = '', kind = ''] = line.split(' - ');
    if (!kind.startsWith('cgroup2 ')) continue;
    const [, , , root, point] = fields.split(' ');
    if (root !== undefined && point !== undefined) return { root, point };
  }
  return null;
}

/** Directory of the v2 group a process is in; null without one, or when the mount does not show it. */
function groupOfProcess(pid: number | 'self'): string | null {
  const place = mountOf();
  const path = ownPath(pid);
  if (place === null || path === null) return null;
  const root = place.root === '/' ? '' : place.root;
  if (path.split('/').includes('..') || path.endsWith(' (deleted)') || !`${path}/`.startsWith(`${root}/`)) return null;
  return `${place.point}${path.slice(root.length)}`.replace(/\/$/, '');
}

/** The v2 group of a process as the kernel calls it; null without one. */
function ownPath(pid: number | 'self'): string | null {
  const lines = readIfThere(`/proc/${pid}/cgroup`).split('\n');
  return lines.find((entry) => entry.startsWith('0::'))?.slice('0::'.length) ?? null;
}
