import type { PoolRow } from '../model/pool.ts';
import { quoted } from '../model/shell.ts';
import { age, clip, safe } from './output.ts';

/** What holds a pool and until when, in a few words; empty when nothing does. */
export function poolText(pool: PoolRow, now: number): string {
  if (pool.state === 'open') {
    const isHeld = pool.retry_at !== null && pool.retry_at > now;
    return isHeld ? `throttled, starts again in ${age((pool.retry_at ?? now) - now)}` : '';
  }
  if (pool.state === 'off') return 'every session waits for itself';
  return `${safe(pool.reason ?? 'blocked')}${saidText(pool)}, ${opensText(pool, now)}`;
}

/** `opens in 3h`; until a person acts, the command that does it. */
export function opensText(pool: PoolRow, now: number): string {
  if (pool.state === 'open' || pool.state === 'off') return 'is open';
  if (pool.state === 'probing') return 'one session tries';
  if (pool.opens_at === null) return `until: drover pools release ${quoted(pool.name)}`;
  return pool.opens_at > now ? `opens in ${age(pool.opens_at - now)}` : 'opens with its next session';
}

function saidText({ evidence }: PoolRow): string {
  if (evidence === null) return '';
  const { message, text } = JSON.parse(evidence) as { message?: string; text?: string };
  const said = message ?? text ?? '';
  return said === '' || said === 'operator' ? '' : `: ${clip(said, 60)}`;
}
