import type { Config } from './config.ts';
import type { Limit } from './harness.ts';
import type { ParkedReason } from './session.ts';

/**
 * `open`: sessions come and go. `blocked`: nothing starts before `opens_at` (null: before a person says so).
 * `probing`: the time has come and one session goes first. `off`: a person has switched the guard off.
 */
export const POOL_STATES = ['open', 'blocked', 'probing', 'off'] as const;
export type PoolState = (typeof POOL_STATES)[number];

/** Kinds of limits that time helps; a refused login is none. */
export const LIMITS = ['usage_limit', 'rate_limit', 'overloaded', 'quota_unknown', 'network'] as const;

/** One row of `pools`: a credential whose limits several sessions share. Times are wall milliseconds. */
export interface PoolRow {
  name: string;
  state: PoolState;
  /** A limit's kind, or `operator`. */
  reason: string | null;
  /** The limit as it was told, and what a person said of it (`PersonsWord`), JSON. */
  evidence: string | null;
  blocked_at: number | null;
  opens_at: number | null;
  /** Throttled: nothing of the pool starts before. */
  retry_at: number | null;
  /** Refusals in a row, counted once per round and not once per session. */
  strikes: number;
  struck_at: number | null;
  /** When it was last opened: the refusal of a turn begun before speaks of a wall that is gone. */
  opened_at: number | null;
  probe_id: string | null;
  updated_at: number;
}

export type PoolLimits = Pick<Config['limits'], 'throttle_ms' | 'throttle_cap_ms' | 'usage_wait_ms' | 'stagger_ms'>;

/** A turn was refused. `started_at` is the turn's; `random` lies in [0, 1) and makes the jitter. */
export interface Refusal {
  type: 'limit';
  limit: Limit;
  session_id: string;
  started_at: number;
  limits: PoolLimits;
  random: number;
}

/** What may happen to a pool. `good`: a turn of it, begun at `started_at`, got an answer. */
export type PoolEvent =
  | Refusal
  | { type: 'good'; session_id: string; started_at: number }
  | { type: 'probe'; session_id: string }
  | { type: 'probe_lost' }
  | PoolWord;

/** Nothing starts before `opens_at` (null: before `release`). */
export interface BlockWord {
  type: 'block';
  opens_at: number | null;
  text: string;
}

/** What a person may say of a pool. */
export type PoolWord = BlockWord | { type: 'release' | 'off' | 'on' };

/** The part of a pool's evidence that is a person's; `until` null: until `release`. */
interface PersonsWord {
  by: 'operator';
  text: string;
  until: number | null;
}

/** A person's block that still stands, whatever else holds the pool beside it; null: none. */
export function personOf({ evidence }: PoolRow, now: number): PersonsWord | null {
  if (evidence === null) return null;
  const { by, text, until } = JSON.parse(evidence) as Partial<PersonsWord>;
  if (by !== 'operator' || text === undefined || until === undefined) return null;
  return until === null || until > now ? { by, text, until } : null;
}

/** A pool that nobody has said anything of. */
export function newPool(name: string, now: number): PoolRow {
  return {
    ...{ name, state: 'open', reason: null, evidence: null, blocked_at: null, opens_at: null, retry_at: null },
    ...{ strikes: 0, struck_at: null, opened_at: null, probe_id: null, updated_at: now },
  };
}

/** May a turn of this session start? `hold`: soon, by itself; `park`: not before the pool says so. */
export function mayStart(pool: PoolRow | null, session_id: string, now: number): 'go' | 'hold' | 'park' {
  if (pool === null || pool.state === 'off') return 'go';
  if (pool.state === 'blocked') return 'park';
  if (pool.state === 'probing') return pool.probe_id === session_id ? 'go' : 'park';
  return pool.retry_at !== null && pool.retry_at > now ? 'hold' : 'go';
}

/** As what a session is parked that waits because of a limit of this kind, or of a person's word. */
export function parkedReasonOf(reason: string | null): ParkedReason {
  if (reason === 'usage_limit' || reason === 'quota_unknown') return 'usage_limit';
  return reason === 'auth' || reason === 'operator' || reason === null ? 'operator' : 'rate_limit';
}
