import { boundedWait, doubledWait, GUESS_CAP_MS, toldWait } from './limit-wait.ts';
import { type BlockWord, newPool, type PoolEvent, type PoolRow, personOf, type Refusal } from './pool.ts';

/**
 * The pool after something happened to it: the same object when that changes nothing.
 *
 * Fifty sessions that meet the same wall are one strike: only the refusal of a turn begun after the last strike counts.
 * A later reset that was told wins; a guess never extends a block that stands. While one session probes, only its word
 * counts. What a person said stands until its instant or a `release`: no answer opens the pool before, and a session that a
 * person sends ahead of it speaks for itself alone.
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
    case 'block':
      return pool.state === 'off' ? pool : heldBack(pool, event, now);
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

/** A person's word is added to what stands and never weakens it: the later instant wins (null: a person has to act). */
function heldBack(pool: PoolRow, word: BlockWord, now: number): PoolRow {
  const isBlocked = pool.state !== 'open';
  const stands = isBlocked ? pool.opens_at : (pool.retry_at ?? 0);
  const opens_at = later(stands, word.opens_at);
  const before = isBlocked ? personOf(pool, now) : null;
  const until = isBlocked ? later(before === null ? 0 : before.until, word.opens_at) : opens_at;
  const said = { by: 'operator', text: word.text, until };
  // A refused login, or a limit that lasts longer, stays the reason.
  const isOther = isBlocked && opens_at === stands && pool.reason !== 'operator';
  const evidence = JSON.stringify(isOther ? { ...toldOf(pool), ...said } : said);
  const reason = isOther ? pool.reason : 'operator';
  return { ...blocked(pool, now), blocked_at: isOther ? pool.blocked_at : now, reason, evidence, opens_at };
}

function later(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : Math.max(a, b);
}

function toldOf({ evidence }: PoolRow): Record<string, unknown> {
  return evidence === null ? {} : (JSON.parse(evidence) as Record<string, unknown>);
}

function answered(pool: PoolRow, event: { session_id: string; started_at: number }, now: number): PoolRow {
  if (pool.state === 'probing' && pool.probe_id === event.session_id) {
    // That the provider serves does not lift what a person said: the session goes on, the others wait.
    return personOf(pool, now) === null ? opened(pool, now) : step(pool, { type: 'probe_lost' }, now);
  }
  // An answer to a turn begun before the strike may be older than the strike.
  const isNews = pool.struck_at === null || event.started_at >= pool.struck_at;
  const isThrottled = pool.strikes > 0 || pool.retry_at !== null;
  return pool.state === 'open' && isNews && isThrottled ? { ...pool, strikes: 0, retry_at: null } : pool;
}

function refused(pool: PoolRow, event: Refusal, now: number): PoolRow {
  const isProbe = pool.state === 'probing' && pool.probe_id === event.session_id;
  if (pool.state === 'probing' && !isProbe) return pool;
  // Somebody tried ahead of the instant that a person set, or against a person's word: that stands.
  if (isProbe && personOf(pool, now) !== null) return step(pool, { type: 'probe_lost' }, now);
  if (event.limit.kind === 'auth') return unauthorised(pool, event, now);
  const isNew = pool.struck_at === null || event.started_at >= pool.struck_at;
  const struck = isNew ? { ...pool, strikes: pool.strikes + 1, struck_at: now } : pool;
  const isUsage = event.limit.kind === 'usage_limit' || event.limit.kind === 'quota_unknown';
  return isUsage ? usedUp(struck, event, now) : throttled(struck, event, { now, isNew });
}

function unauthorised(pool: PoolRow, event: Refusal, now: number): PoolRow {
  const isWaiting = pool.state === 'blocked' && pool.opens_at === null;
  if (isWaiting || isPast(pool, event)) return pool;
  return { ...blocked(pool, now), ...causeOf(pool, event, now), struck_at: now, opens_at: null };
}

/** The refused turn began before the pool was opened: it met what stood there then. */
function isPast(pool: PoolRow, event: Refusal): boolean {
  return pool.state === 'open' && pool.opened_at !== null && event.started_at < pool.opened_at;
}

/** A person's word that still stands stays with the pool beside what the provider says. */
function causeOf(pool: PoolRow, { limit }: Refusal, now: number): Pick<PoolRow, 'reason' | 'evidence'> {
  return { reason: limit.kind, evidence: JSON.stringify({ ...limit, ...personOf(pool, now) }) };
}

function usedUp(pool: PoolRow, event: Refusal, now: number): PoolRow {
  const told = toldWait(event.limit, now);
  if (pool.state === 'blocked') {
    const opens_at = told === null ? 0 : now + boundedWait(told);
    // `null` waits for a person, and so does what comes after it.
    return pool.opens_at === null || opens_at <= pool.opens_at
      ? pool
      : { ...pool, ...causeOf(pool, event, now), opens_at };
  }
  if (isPast(pool, event) && (told === null || told <= 0)) return pool;
  // Throttles that went before say nothing of a plan.
  const strikes = pool.state === 'open' ? 1 : pool.strikes;
  const wait = told !== null && told > 0 ? told : guessed(event, strikes, told !== null);
  return {
    ...blocked(pool, now),
    ...causeOf(pool, event, now),
    strikes,
    struck_at: now,
    opens_at: now + boundedWait(wait),
  };
}

/** A reset that is told and has passed (clocks differ, or it was false) is near, but believed less every time. */
function guessed({ limits }: Refusal, strikes: number, isNear: boolean): number {
  const first = isNear ? limits.throttle_ms : limits.usage_wait_ms;
  return doubledWait(first, strikes - 1, GUESS_CAP_MS);
}

/** Jitter is the pool's and not each session's; what was told is never undercut. */
function throttled(pool: PoolRow, event: Refusal, { now, isNew }: { now: number; isNew: boolean }): PoolRow {
  if (pool.state === 'blocked') return pool;
  const { limits, random } = event;
  const told = toldWait(event.limit, now);
  const guess = doubledWait(limits.throttle_ms, pool.strikes - 1, limits.throttle_cap_ms);
  const at = now + boundedWait(told === null ? guess * (0.75 + random / 2) : told * (1 + random / 4));
  if (pool.state === 'probing') return { ...blocked(pool, now), ...causeOf(pool, event, now), opens_at: at };
  const stands = pool.retry_at ?? 0;
  if (told === null && !isNew && stands > now) return pool;
  return { ...pool, retry_at: Math.max(stands, at) };
}
