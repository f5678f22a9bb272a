import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A process that a test has left behind; `why` says how it was recognised. */
export interface Stray {
  pid: number;
  why: string;
  command: string;
}

/**
 * Living processes that belong to this test file: direct children, and every process whose environment or working
 * directory lies in `scratch`. Zombies are none: nothing runs in them. Empty where there is no `/proc`.
 */
export function strays(scratch: string): Stray[] {
  if (!existsSync('/proc/self/stat')) return [];
  const found: Stray[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const why = belongs(pid, scratch);
    if (why) found.push({ pid, why, command: peek(pid, 'cmdline').replaceAll('\0', ' ').trim() });
  }
  return found;
}

function belongs(pid: number, scratch: string): string | null {
  const { state, parent } = lineage(pid);
  if (!isAlive(state)) return null;
  if (parent === process.pid) return 'child of the test process';
  if (peek(pid, 'environ').includes(scratch)) return 'environment';
  return attempt(() => readlinkSync(`/proc/${pid}/cwd`)).startsWith(scratch) ? 'working directory' : null;
}

/** State letter and parent; they stand behind the name, which may itself hold spaces and parentheses. */
export function lineage(pid: number): { state: string; parent: number } {
  const stat = peek(pid, 'stat');
  const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state, parent: Number(parent) };
}

/** Whether a state letter of `/proc` is that of a process which still runs. */
export function isAlive(state: string): boolean {
  return state !== '' && state !== 'Z' && state !== 'X';
}

function peek(pid: number, file: string): string {
  return attempt(() => readFileSync(`/proc/${pid}/${file}`, 'utf8'));
}

/** `''` for a process that is gone or is somebody else's: neither can be ours. */
function attempt(look: () => string): string {
  try {
    return look();
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as { code?: string }).code ?? '')) return '';
    throw error;
  }
}

/** Paths below `scratch` on which this process still holds an `flock`, deleted files included. */
export function heldLocks(scratch: string): string[] {
  if (!existsSync('/proc/self/fdinfo')) return [];
  return readdirSync('/proc/self/fdinfo')
    .filter((fd) => /^lock:.*\bFLOCK\b/m.test(attempt(() => readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))))
    .map((fd) => attempt(() => readlinkSync(`/proc/self/fd/${fd}`)))
    .filter((path) => path.startsWith(scratch));
}
