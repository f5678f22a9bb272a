import type { Config } from '../model/config.ts';
import type { Deps } from '../session/deps.ts';
import { launcherOf } from '../session/end-tree.ts';
import { type Measurable, parkForMemory, recordSample, turnsToMeasure, type UsageSample } from '../store/sample.ts';
import type { ProcessId } from '../sys/identity.ts';
import { heldBytes, sampleTrees, type TreeSample } from '../sys/sample.ts';

const MEGABYTE = 1_048_576;

/** The cap in bytes that a turn's processes have outgrown, or null. Exactly at the cap is still fine. */
export function overCap(
  sample: Pick<TreeSample, 'rss_bytes'>,
  limits: Pick<Config['limits'], 'memory_mb'>,
): number | null {
  if (limits.memory_mb === null) return null;
  const cap = limits.memory_mb * MEGABYTE;
  return sample.rss_bytes > cap ? cap : null;
}

/** A turn that was parked, for the report of the look. */
export interface OverCap {
  session_id: string;
  name: string;
  turn: number;
  evidence: string;
}

/**
 * What every turn in flight uses: peak memory and CPU go to its row, and a turn beyond its repository's
 * `limits.memory_mb` is parked; its supervisor ends the processes. Returns those that were parked. The peak counts shared
 * pages once for each process; by such a figure alone nobody is parked (`heldBytes`).
 */
export async function watchUsage({ store, clock, config_for }: Deps): Promise<OverCap[]> {
  const seen = sampled(await turnsToMeasure(store));
  if (seen.length === 0) return [];
  await recordSample(store, seen.map(usageOf));
  const parked: OverCap[] = [];
  for (const { turn, launcher, sample } of seen) {
    const { limits } = await config_for(turn.repo_root);
    if (overCap(sample, limits) === null) continue;
    const rss_bytes = heldBytes(launcher, sample);
    const cap_bytes = overCap({ rss_bytes }, limits);
    if (cap_bytes === null) continue;
    const key = { session_id: turn.session_id, turn: turn.turn };
    const evidence = await parkForMemory(store, { ...key, rss_bytes, cap_bytes, now: clock.now() });
    if (evidence !== null) parked.push({ ...key, name: turn.name, evidence });
  }
  return parked;
}

interface Sampled {
  turn: Measurable;
  launcher: ProcessId;
  sample: TreeSample;
}

function usageOf({ turn, sample }: Sampled): UsageSample {
  const { session_id, turn: number } = turn;
  return { session_id, turn: number, peak_memory_bytes: sample.rss_bytes, cpu_ms: sample.cpu_ms };
}

function sampled(open: readonly Measurable[]): Sampled[] {
  const running = open.flatMap((turn) => {
    const launcher = launcherOf(turn);
    return launcher === null ? [] : [{ turn, launcher }];
  });
  const samples = sampleTrees(running.map(({ launcher }) => launcher));
  return running.flatMap((one) => {
    const sample = samples.get(one.launcher.pid);
    return sample === undefined ? [] : [{ ...one, sample }];
  });
}
