import { readFileSync } from 'node:fs';

const TICK_MS = 10;

/** CPU milliseconds a process has used so far, all its threads, to 10 ms. */
export function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Share of one core a process uses over `ms`, in percent. */
export async function cpuShare(pid: number, ms: number): Promise<number> {
  const start = performance.now();
  const before = cpuOf(pid);
  await Bun.sleep(ms);
  return (100 * (cpuOf(pid) - before)) / (performance.now() - start);
}

/** Megabytes of memory: `pss` counts pages shared with other processes by their share, `rss` wholly. */
export function memoryOf(pid: number): { rss: number; pss: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024;
  return { rss: of('Rss'), pss: of('Pss') };
}

/** Open descriptors. */
export function descriptorsOf(pid: number): number {
  return Number(/^FDSize:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
}

/** The largest resident size in megabytes while `work` runs, looked at every 20 ms. */
export async function peakRss(pid: number, work: Promise<unknown>): Promise<number> {
  let isOver = false;
  let peak = 0;
  const ended = work.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1');
    peak = Math.max(peak, Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1]) / 1024);
    await Promise.race([Bun.sleep(20), ended]);
  }
  await ended;
  return peak;
}
