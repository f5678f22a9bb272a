import { dlopen, ptr } from 'bun:ffi';

/** The middle of the samples. */
export function median(samples: readonly number[]): number {
  return percentile(samples, 50);
}

/** The smallest sample that at least `percent` of the samples do not exceed. */
export function percentile(samples: readonly number[], percent: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1))];
  if (value === undefined) throw new Error('no samples');
  return value;
}

/**
 * Samples of several ways of doing something, taken in turns, so that whatever else the machine does disturbs all of
 * them alike. The first round only warms up.
 */
export async function interleave<Name extends string>(
  rounds: number,
  ways: Record<Name, () => number | Promise<number>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(ways) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, number[]>;
  for (let round = 0; round <= rounds; round += 1) {
    for (const name of names) {
      const sample = await ways[name]();
      if (round > 0) samples[name].push(sample);
    }
  }
  return samples;
}

const CLOCK_REALTIME = 0;
let clock: ((id: number, into: BigInt64Array) => void) | undefined;

/** Wall time in milliseconds with the fractions that `Date.now` lacks: comparable with what other processes print. */
export function wallMs(): number {
  clock ??= openClock();
  const time = new BigInt64Array(2);
  clock(CLOCK_REALTIME, time);
  return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
}

function openClock(): (id: number, into: BigInt64Array) => void {
  const { symbols } = dlopen('libc.so.6', { clock_gettime: { args: ['i32', 'ptr'], returns: 'i32' } });
  return (id, into) => {
    symbols.clock_gettime(id, ptr(into));
  };
}

/** Milliseconds of CPU this process spends in `work`, its helper threads included. */
export async function cpuMs(work: () => void | Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** Waits until `look` finds something; fails after `ms` with what it waited for. */
export async function until<T>(what: string, look: () => T | null | Promise<T | null>, ms = 30_000): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`);
    await Bun.sleep(1);
  }
}
