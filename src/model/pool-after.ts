import type { Limit } from './harness.ts';
import { newPool, type PoolEvent, type PoolRow, type Refusal } from './pool.ts';

/**
 * The pool after something happened to it: the same object when that changes nothing.
 *
 * Fifty sessions that meet the same wall are one strike: only the refusal of a turn begun after the last strike counts.
 * A later reset that was told wins; a guess never extends a block that stands. While one session probes, only its word
 * counts.
 */
export function poolAfter(pool: PoolRow, event: PoolEvent, now: number): PoolRow {
  const after = step(pool, event, now);
  return after === pool ? pool : { ...after, updated_at: now };
}

function step(pool: PoolRow, event: PoolEvent, now: number): PoolRow {
  switch (event.type) {
    case 'limit':
      return pool.state === 'off' ? pool : refused(pool, event, now);
    case 'good':
      return answered(pool, event, now);
    case 'probe':
      return pool.state === 'blocked' ? { ...pool, state: 'probing', probe_id: event.session_id } : pool;
    case 'probe_lost':
      return pool.state === 'probing' ? { ...pool, state: 'blocked', probe_id: null } : pool;
    case 'block': {
      const evidence = JSON.stringify({ by: 'operator', text: event.text });
      return { ...blocked(pool, now), blocked_at: now, reason: 'operator', evidence, opens_at: event.opens_at };
    }
    case 'release':
      return pool.state === 'off' ? pool : opened(pool, now);
    case 'off':
      return pool.state === 'off' ? pool : { ...opened(pool, now), state: 'off' };
    case 'on':
      return pool.state === 'off' ? opened(pool, now) : pool;
  }
}

function opened(pool: PoolRow, now: number): PoolRow {
  const { name, struck_at } = pool;
  return { ...newPool(name, now), struck_at, opened_at: now };
}

function blocked(pool: PoolRow, now: number): PoolRow {
  return { ...pool, state: 'blocked', blocked_at: pool.blocked_at ?? now, probe_id: null, retry_at: null };
}

function answered(pool: PoolRow, event: { session_id: string; started_at: number }, now: number): PoolRow {
  if (pool.state === 'probing' && pool.probe_id === event.session_id) return opened(pool, now);
  // An answer to a turn begun before the strike may be older than the strike.
  const isNews = pool.struck_at === null || event.started_at >= pool.struck_at;
  const isThrottled = pool.strikes > 0 || pool.retry_at !== null;
  return pool.state === 'open' && isNews && isThrottled ? { ...pool, strikes: 0, retry_at: null } : pool;
}

/** No window of a plan is longer than a week; an instant beyond that is a misreading. */
const WAIT_MS = { least: 1_000, most: 8 * 86_400_000 };
/** Nobody told when a used-up plan opens: asked again at least so often. */
const GUESS_CAP_MS = 2 * 3_600_000;

function bounded(wait_ms: number): number {
  return Math.min(Math.max(Math.ceil(wait_ms), WAIT_MS.least), WAIT_MS.most);
}

/** How long the provider asks to wait; null when it does not say. */
function toldWait({ resets_at, retry_after_ms }: Limit, now: number): number | null {
  return resets_at === null ? retry_after_ms : resets_at - now;
}

function refused(pool: PoolRow, event: Refusal, now: number): PoolRow {
  const isProbe = pool.state === 'probing' && pool.probe_id === event.session_id;
  if (pool.state === 'probing' && !isProbe) return pool;
  // Somebody tried ahead of the instant that a person set, or against a person's word: that stands.
  const isHeld = pool.reason === 'operator' && (pool.opens_at === null || pool.opens_at > now);
  if (isProbe && isHeld) return step(pool, { type: 'probe_lost' }, now);
  if (event.limit.kind === 'auth') return unauthorised(pool, event, now);
  const isNew = pool.struck_at === null || event.started_at >= pool.struck_at;
  const struck = isNew ? { ...pool, strikes: pool.strikes + 1, struck_at: now } : pool;
  const isUsage = event.limit.kind === 'usage_limit' || event.limit.kind === 'quota_unknown';
  return isUsage ? usedUp(struck, event, now) : throttled(struck, event, { now, isNew });
}

function unauthorised(pool: PoolRow, event: Refusal, now: number): PoolRow {
  const isWaiting = pool.state === 'blocked' && pool.opens_at === null;
  if (isWaiting || isPast(pool, event)) return pool;
  return { ...blocked(pool, now), ...causeOf(event), struck_at: now, opens_at: null };
}

/** The refused turn began before the pool was opened: it met what stood there then. */
function isPast(pool: PoolRow, event: Refusal): boolean {
  return pool.state === 'open' && pool.opened_at !== null && event.started_at < pool.opened_at;
}

function causeOf({ limit }: Refusal): Pick<PoolRow, 'reason' | 'evidence'> {
  return { reason: limit.kind, evidence: JSON.stringify(limit) };
}

function usedUp(pool: PoolRow, event: Refusal, now: number): PoolRow {
  const told = toldWait(event.limit, now);
  if (pool.state === 'blocked') {
    const opens_at = told === null ? 0 : now + bounded(told);
    // `null` waits for a person, and so does what comes after it.
    return pool.opens_at === null || opens_at <= pool.opens_at ? pool : { ...pool, ...causeOf(event), opens_at };
  }
  if (isPast(pool, event) && (told === null || told <= 0)) return pool;
  // Throttles that went before say nothing of a plan.
  const strikes = pool.state === 'open' ? 1 : pool.strikes;
  const wait = told !== null && told > 0 ? told : guessed(event, strikes, told !== null);
  return { ...blocked(pool, now), ...causeOf(event), strikes, struck_at: now, opens_at: now + bounded(wait) };
}

/** A reset that is told and has passed (clocks differ, or it was false) is near, but believed less every time. */
function guessed({ limits }: Refusal, strikes: number, isNear: boolean): number {
  const first = isNear ? limits.throttle_ms : limits.usage_wait_ms;
  return Math.min(first * 2 ** Math.min(Math.max(strikes - 1, 0), 20), GUESS_CAP_MS);
}

/** Jitter is the pool's and not each session's; what was told is never undercut. */
function throttled(pool: PoolRow, event: Refusal, { now, isNew }: { now: number; isNew: boolean }): PoolRow {
  if (pool.state === 'blocked') return pool;
  const { limits, random } = event;
  const told = toldWait(event.limit, now);
  const guess = Math.min(limits.throttle_ms * 2 ** Math.min(Math.max(pool.strikes - 1, 0), 20), limits.throttle_cap_ms);
  const at = now + bounded(told === null ? guess * (0.75 + random / 2) : told * (1 + random / 4));
  if (pool.state === 'probing') return { ...blocked(pool, now), ...causeOf(event), opens_at: at };
  const stands = pool.retry_at ?? 0;
  if (told === null && !isNew && stands > now) return pool;
  return { ...pool, retry_at: Math.max(stands, at) };
}
