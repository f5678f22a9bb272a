import type { Config } from '../model/config.ts';
import type { DigestLine, News } from '../store/digest.ts';

/** An escalation wakes the patrol at once, but not oftener than this. */
const GRAVE_EVERY_MS = 60_000;
/** After patrols that ended without reading, it doubles for each of them, up to this. */
const LONGEST_MS = 3_600_000;

/**
 * Should the patrol be woken? Never while nothing is wrong that it does not know of; then at its hour, or at once when a
 * session was escalated or ended. What it was told and has not read yet is enough. A patrol that fails is followed by
 * another ever more rarely. Pure.
 */
export function patrolDue(
  { count, grave, sent_at, is_waiting, failed }: Pick<News, 'count' | 'grave' | 'sent_at' | 'is_waiting' | 'failed'>,
  { patrol_harness, patrol_every_ms }: Pick<Config['watchdog'], 'patrol_harness' | 'patrol_every_ms'>,
  now: number,
): boolean {
  if (patrol_harness === null || count === 0 || is_waiting) return false;
  // A digest of the future was sent before the clock was set back.
  if (sent_at === null || sent_at > now) return true;
  const every_ms = grave > 0 ? Math.min(GRAVE_EVERY_MS, patrol_every_ms) : patrol_every_ms;
  return now - sent_at >= (failed === 0 ? every_ms : afterFailures(every_ms, failed));
}

function afterFailures(every_ms: number, failed: number): number {
  return Math.max(every_ms, Math.min(Math.max(every_ms, GRAVE_EVERY_MS) * 2 ** failed, LONGEST_MS));
}

/** One paragraph per session. Pure. */
export function digestText(lines: readonly DigestLine[], now: number): string {
  return lines
    .map((line) => {
      const { name, state, repo_root, turn, health, cause, evidence, acts, at, created_at } = line;
      const what = cause === null ? health : `${health} (${cause})`;
      return [
        `${name} (${state}, turn ${turn}, in ${repo_root}): ${what}, ${minutes(now - at)} ago`,
        `  evidence: ${evidence}`,
        `  done: ${acts ?? 'nothing'}`,
        `  age ${minutes(now - created_at)}, tokens in ${line.input_tokens}, out ${line.output_tokens}`,
      ].join('\n');
    })
    .join('\n\n');
}

const minutes = (ms: number) => `${Math.max(0, Math.round(ms / 60_000))} min`;
