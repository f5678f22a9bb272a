import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Leak {
  pid: number;
  command: string;
  /** Where the needle was found: environ, cwd, cmdline or fd. */
  evidence: string;
}

/**
 * Living processes that have to do with `needle` (a turn marker, or the path of a test's temp directory): it occurs in
 * their environment, working directory, arguments or open files. Zombies and this process do not count.
 */
export function leaksOf(needle: string): Leak[] {
  const leaks: Leak[] = [];
  for (const pid of readdirSync('/proc').map(Number).filter(Number.isInteger)) {
    if (pid === process.pid || isDead(pid)) continue;
    const evidence = evidenceOf(pid, needle);
    if (evidence) leaks.push({ pid, command: read(pid, 'cmdline').replaceAll('\0', ' ').trim(), evidence });
  }
  return leaks;
}

/** Fails when a process of `needle` is alive. `within_ms` allows for those that are just ending. */
export async function assertNoLeaks(needle: string, within_ms = 5_000): Promise<void> {
  const end = performance.now() + within_ms;
  for (let leaks = leaksOf(needle); leaks.length > 0; leaks = leaksOf(needle)) {
    if (performance.now() > end) {
      const list = leaks.map(({ pid, command, evidence }) => `  ${pid} ${command} (${evidence})`);
      throw new Error(`processes left behind for ${needle}:\n${list.join('\n')}`);
    }
    await Bun.sleep(10);
  }
}

function evidenceOf(pid: number, needle: string): string | null {
  if (read(pid, 'environ').includes(needle)) return 'environ';
  if (link(pid, 'cwd').includes(needle)) return 'cwd';
  if (read(pid, 'cmdline').includes(needle)) return 'cmdline';
  return descriptors(pid).some((fd) => link(pid, `fd/${fd}`).includes(needle)) ? 'fd' : null;
}

function isDead(pid: number): boolean {
  const stat = read(pid, 'stat');
  return stat === '' || /^\) [ZX]/.test(stat.slice(stat.lastIndexOf(')')));
}

/** A process may end, or belong to somebody else, at any moment: then there is nothing to see. */
function quietly<T>(look: () => T, nothing: T): T {
  try {
    return look();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return nothing;
    throw error;
  }
}

const read = (pid: number, file: string) => quietly(() => readFileSync(`/proc/${pid}/${file}`, 'latin1'), '');
const link = (pid: number, name: string) => quietly(() => readlinkSync(`/proc/${pid}/${name}`), '');
const descriptors = (pid: number) => quietly(() => readdirSync(`/proc/${pid}/fd`), []);
