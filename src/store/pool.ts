import type { Limit } from '../model/harness.ts';
import { mayStart, newPool, type PoolEvent, type PoolLimits, type PoolRow } from '../model/pool.ts';
import { poolAfter } from '../model/pool-after.ts';
import { quoted } from '../model/shell.ts';
import { appendEvent } from './event.ts';
import { tellOperatorIn } from './operator-mail.ts';
import type { Store, Tx } from './store.ts';

const COLUMNS: readonly (keyof PoolRow)[] = [
  ...(['name', 'state', 'reason', 'evidence', 'blocked_at', 'opens_at', 'retry_at', 'strikes', 'struck_at'] as const),
  ...(['opened_at', 'probe_id', 'updated_at'] as const),
];

const UPSERT = `INSERT INTO pools (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map((column) => `:${column}`).join(', ')})
  ON CONFLICT (name) DO UPDATE SET ${COLUMNS.slice(1)
    .map((column) => `${column} = excluded.${column}`)
    .join(', ')}`;

/** For use inside another transaction. `null`: nobody has said anything of it, it is open. */
export function readPool(tx: Tx, name: string): PoolRow | null {
  return tx.get<PoolRow>('SELECT * FROM pools WHERE name = :name', { name });
}

export async function getPool(store: Store, name: string): Promise<PoolRow | null> {
  return store.read((tx) => readPool(tx, name));
}

/** By name. Pools that never met a limit have no row. */
export async function listPools(store: Store): Promise<PoolRow[]> {
  return store.read((tx) => tx.all<PoolRow>('SELECT * FROM pools ORDER BY name'));
}

/** A pool with the sessions that share it; the row of one that never met a limit is that of an open one. */
export type PoolUse = PoolRow & { live_count: number; parked_count: number; probe_name: string | null };

/** Pools that have a row or a live session, by name. */
export async function poolUses(store: Store, now: number): Promise<PoolUse[]> {
  return store.read((tx) => {
    const uses = tx.all<{ pool: string; live_count: number; parked_count: number }>(
      `SELECT pool, count(*) AS live_count, sum(CASE WHEN parked_pool = pool THEN 1 ELSE 0 END) AS parked_count
       FROM sessions WHERE ended_at IS NULL GROUP BY pool`,
    );
    const rows = tx.all<PoolRow & { probe_name: string | null }>(
      'SELECT p.*, s.name AS probe_name FROM pools AS p LEFT JOIN sessions AS s ON s.id = p.probe_id',
    );
    const names = [...new Set([...rows.map(({ name }) => name), ...uses.map(({ pool }) => pool)])].sort();
    return names.map((name) => {
      const row = rows.find((each) => each.name === name) ?? { ...newPool(name, now), probe_name: null };
      const { live_count, parked_count } = uses.find(({ pool }) => pool === name) ?? { live_count: 0, parked_count: 0 };
      return { ...row, live_count, parked_count };
    });
  });
}

/** True when some session, live or not, belongs to it, or somebody has spoken of it. */
export async function isPoolKnown(store: Store, name: string): Promise<boolean> {
  return store.read(
    (tx) =>
      readPool(tx, name) !== null || tx.get('SELECT 1 FROM sessions WHERE pool = :name LIMIT 1', { name }) !== null,
  );
}

export interface PoolMove {
  before: PoolRow;
  after: PoolRow;
}

/** What the model makes of an event, written when it changes something. The row is made when it is first needed. */
export function movePool(tx: Tx, name: string, event: PoolEvent, now: number): PoolMove {
  const before = readPool(tx, name) ?? newPool(name, now);
  const after = poolAfter(before, event, now);
  if (after !== before) tx.run(UPSERT, { ...after });
  return { before, after };
}

/** A person's word about a pool: `block`, `release`, `off`, `on`. */
export async function setPool(store: Store, name: string, event: PoolEvent, now: number): Promise<PoolMove> {
  return store.write((tx) => movePool(tx, name, event, now));
}

/** What the model says of a start now: see `mayStart`. One look-up by key. */
export function startOf(tx: Tx, session: { id: string; pool: string }, now: number): ReturnType<typeof mayStart> {
  return mayStart(readPool(tx, session.pool), session.id, now);
}

export interface Strike {
  session: { id: string; name: string; pool: string };
  turn: { turn: number; started_at: number };
  limit: Limit;
  limits: PoolLimits;
  random: number;
  now: number;
}

/**
 * A turn was refused: tells its pool, and the operator once when the pool now waits for a person. Returns the pool as it
 * is afterwards; `null` when the guard is off.
 */
export function strikePool(tx: Tx, { session, turn, limit, limits, random, now }: Strike): PoolRow | null {
  const refusal = {
    type: 'limit',
    limit,
    session_id: session.id,
    started_at: turn.started_at,
    limits,
    random,
  } as const;
  const { before, after } = movePool(tx, session.pool, refusal, now);
  if (after.state === 'off') return null;
  if (after.state !== before.state) noteOn(tx, { id: session.id, turn: turn.turn }, after, now);
  if (after.reason === 'auth' && before.reason !== 'auth') tellOfLogin(tx, after, limit, now);
  return after;
}

/** The pool's new state as an event of the session that brought it about, for its log. */
export function noteOn(tx: Tx, of: { id: string; turn: number }, pool: PoolRow, at: number): void {
  const detail = `${pool.name}: ${pool.state}${pool.reason === null ? '' : ` (${pool.reason})`}`;
  const data = { status: 'pool', detail, pool: pool.name, state: pool.state, opens_at: pool.opens_at };
  appendEvent(tx, { session_id: of.id, turn: of.turn, type: 'status', level: 'warning', data, at });
}

function tellOfLogin(tx: Tx, pool: PoolRow, limit: Limit, now: number): void {
  const mail = {
    subject: `The login of pool ${pool.name} is refused; then: drover pools release ${quoted(pool.name)}`,
    body: `Every session of the pool ${pool.name} waits, because its provider refuses the login:\n\n${limit.message}\n\nLog in again (or correct the key), then: drover pools release ${quoted(pool.name)}`,
    payload_json: JSON.stringify({ pool: pool.name, kind: limit.kind, status: limit.status }),
  };
  tellOperatorIn(tx, mail, now);
}

/** A turn of the pool ended well. Nothing is written for a pool that is well. */
export function praisePool(tx: Tx, session: { id: string; pool: string }, started_at: number, now: number): void {
  if (readPool(tx, session.pool) === null) return;
  movePool(tx, session.pool, { type: 'good', session_id: session.id, started_at }, now);
}

/** The session got an answer from the provider: when it is a pool's probe, the pool is open. One look-up by index. */
export function openByProbe(tx: Tx, session: { id: string; turn: number }, now: number): void {
  const pool = tx.get<{ name: string }>('SELECT name FROM pools WHERE probe_id = :id', { id: session.id });
  if (pool === null) return;
  const good = { type: 'good', session_id: session.id, started_at: now } as const;
  noteOn(tx, session, movePool(tx, pool.name, good, now).after, now);
}
