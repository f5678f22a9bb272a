import type { Config } from '../model/config.ts';
import type { Deps } from '../session/deps.ts';
import { launcherOf } from '../session/end.ts';
import { parkForMemory, recordSample, type UsageSample } from '../store/sample.ts';
import { type OpenTurn, openTurns } from '../store/turn.ts';
import { sampleTrees, type TreeSample } from '../sys/sample.ts';

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
 * `limits.memory_mb` is parked; its supervisor ends the processes. Returns those that were parked.
 */
export async function watchUsage({ store, clock, config_for }: Deps): Promise<OverCap[]> {
  const seen = sampled(await openTurns(store));
  if (seen.length === 0) return [];
  await recordSample(store, seen.map(usageOf));
  const parked: OverCap[] = [];
  for (const { session, turn, sample } of seen) {
    const cap_bytes = overCap(sample, (await config_for(session.repo_root)).limits);
    if (cap_bytes === null) continue;
    const key = { session_id: session.id, turn: turn.turn };
    const evidence = await parkForMemory(store, { ...key, rss_bytes: sample.rss_bytes, cap_bytes, now: clock.now() });
    if (evidence !== null) parked.push({ ...key, name: session.name, evidence });
  }
  return parked;
}

type Sampled = OpenTurn & { sample: TreeSample };

function usageOf({ turn, sample }: Sampled): UsageSample {
  const { session_id, turn: number } = turn;
  return { session_id, turn: number, peak_memory_bytes: sample.rss_bytes, cpu_ms: sample.cpu_ms };
}

function sampled(open: readonly OpenTurn[]): Sampled[] {
  const running = open.flatMap((one) => {
    const launcher = launcherOf(one.turn);
    return launcher === null ? [] : [{ ...one, launcher }];
  });
  const samples = sampleTrees(running.map(({ launcher }) => launcher));
  return running.flatMap(({ session, turn, launcher }) => {
    const sample = samples.get(launcher.pid);
    return sample === undefined ? [] : [{ session, turn, sample }];
  });
}
