import { type PoolRow, parkedReasonOf } from '../model/pool.ts';
import type { SessionRow } from '../model/session.ts';
import { movePool, noteOn } from './pool.ts';
import type { Store, Tx } from './store.ts';
import { transition } from './transition.ts';

type Waiting = Pick<SessionRow, 'id' | 'name' | 'turn' | 'state' | 'created_at'>;

/** What stands to be done for one pool. */
interface PoolWork {
  pool: PoolRow;
  /** The probe has ended without an answer from the provider. */
  isProbeLost: boolean;
  /** Who goes first now; null while nobody should, or nobody is there. */
  probe: Waiting | null;
  /** Sessions that would start and may not. */
  starters: Waiting[];
  /** How many were parked by the pool, which holds nobody any more. */
  followers: number;
}

const WAITING = 's.id, s.name, s.turn, s.state, s.created_at';
const HAS_INPUT = `(EXISTS (SELECT 1 FROM mail WHERE to_id = s.id AND read_at IS NULL AND delivered_turn IS NULL)
  OR EXISTS (SELECT 1 FROM notifications WHERE parent_id = s.id AND delivered_at IS NULL AND delivered_turn IS NULL))`;
/** States in which a probe is still on its way. */
const PROBE_STATES = ['queued', 'booting', 'working', 'stalled'];

function worksOf(tx: Tx, now: number): PoolWork[] {
  return tx.all<PoolRow>('SELECT * FROM pools').flatMap((pool) => {
    const work = pool.state === 'open' || pool.state === 'off' ? freed(tx, pool) : held(tx, pool, now);
    const isNeeded = work.isProbeLost || work.probe !== null || work.starters.length > 0 || work.followers > 0;
    return isNeeded ? [work] : [];
  });
}

function freed(tx: Tx, pool: PoolRow): PoolWork {
  const row = tx.get<{ n: number }>(
    "SELECT count(*) AS n FROM sessions WHERE pool = :name AND state = 'parked' AND parked_pool = :name",
    { name: pool.name },
  );
  return { pool, isProbeLost: false, probe: null, starters: [], followers: row?.n ?? 0 };
}

function held(tx: Tx, pool: PoolRow, now: number): PoolWork {
  const isProbeLost = pool.state === 'probing' && !isOnItsWay(tx, pool.probe_id);
  const isProbing = pool.state === 'probing' && !isProbeLost;
  const starters = tx
    .all<Waiting>(
      `SELECT ${WAITING} FROM sessions AS s
       WHERE s.pool = :name AND s.state IN ('queued','idle') AND (s.next_turn_at IS NULL OR s.next_turn_at <= :now)
         AND ${HAS_INPUT} ORDER BY s.created_at, s.id`,
      { name: pool.name, now },
    )
    .filter(({ id }) => !isProbing || id !== pool.probe_id);
  const isDue = !isProbing && pool.opens_at !== null && pool.opens_at <= now;
  const probe = isDue ? oldest(starters[0] ?? null, firstParked(tx, pool.name)) : null;
  return { pool, isProbeLost, probe, starters: starters.filter(({ id }) => id !== probe?.id), followers: 0 };
}

function isOnItsWay(tx: Tx, id: string | null): boolean {
  const row = tx.get<Pick<SessionRow, 'state'>>('SELECT state FROM sessions WHERE id = :id', { id });
  return row !== null && PROBE_STATES.includes(row.state);
}

function firstParked(tx: Tx, name: string): Waiting | null {
  return tx.get<Waiting>(
    `SELECT ${WAITING} FROM sessions AS s
     WHERE s.pool = :name AND s.state = 'parked' AND s.parked_pool = :name AND ${HAS_INPUT}
     ORDER BY s.created_at, s.id LIMIT 1`,
    { name },
  );
}

function oldest(a: Waiting | null, b: Waiting | null): Waiting | null {
  if (a === null || b === null) return a ?? b;
  return a.created_at < b.created_at || (a.created_at === b.created_at && a.id < b.id) ? a : b;
}

/** `null`: nothing is to be done, which one small read tells; else whether parked sessions go on. */
export async function poolsNeed(store: Store, now: number): Promise<{ repo_root: string | null } | null> {
  return store.read((tx) => {
    const works = worksOf(tx, now);
    const name = works.find(({ followers }) => followers > 0)?.pool.name;
    if (works.length === 0) return null;
    const row = tx.get<{ repo_root: string }>(
      "SELECT repo_root FROM sessions WHERE pool = :name AND state = 'parked' AND parked_pool = :name LIMIT 1",
      { name: name ?? null },
    );
    return { repo_root: row?.repo_root ?? null };
  });
}

/**
 * Parks who would start in a blocked pool, sends one session ahead when the time has come, and lets the others follow one
 * by one when the pool is open again; guarded, in one transaction. `stagger_ms` null: nobody follows this time.
 * Returns what was done, for the log.
 */
export async function movePools(store: Store, input: { now: number; stagger_ms: number | null }): Promise<string[]> {
  return store.write((tx) => worksOf(tx, input.now).flatMap((work) => moveOne(tx, work, input)));
}

function moveOne(tx: Tx, work: PoolWork, { now, stagger_ms }: { now: number; stagger_ms: number | null }): string[] {
  const { name } = work.pool;
  const done: string[] = [];
  if (work.isProbeLost) {
    movePool(tx, name, { type: 'probe_lost' }, now);
    done.push(`pool ${name}: its probe ended without an answer`);
  }
  if (work.probe !== null && sendAhead(tx, work.pool, work.probe, now)) {
    done.push(`pool ${name}: ${work.probe.name} goes first`);
  }
  const parked = work.starters.filter((session) => park(tx, work.pool, session, now)).length;
  if (parked > 0) done.push(`pool ${name}: ${parked} wait (${work.pool.reason})`);
  if (work.followers > 0 && stagger_ms !== null) {
    done.push(`pool ${name}: ${letFollow(tx, name, now, stagger_ms)} follow`);
  }
  return done;
}

function sendAhead(tx: Tx, pool: PoolRow, session: Waiting, now: number): boolean {
  const event = { session_id: session.id, actor: 'supervisor', now, reason: `probe of pool ${pool.name}` } as const;
  if (session.state === 'idle' && !park(tx, pool, session, now)) return false;
  const isMoved = session.state === 'queued' || transition(tx, { ...event, event: 'release' }).ok;
  if (!isMoved) return false;
  tx.run('UPDATE sessions SET next_turn_at = NULL WHERE id = :id', { id: session.id });
  noteOn(tx, session, movePool(tx, pool.name, { type: 'probe', session_id: session.id }, now).after, now);
  return true;
}

function park(tx: Tx, pool: PoolRow, session: Waiting, now: number): boolean {
  const { name, reason, opens_at } = pool;
  const told = pool.evidence === null ? null : (JSON.parse(pool.evidence) as unknown);
  return transition(tx, {
    ...{ session_id: session.id, event: 'park', actor: 'supervisor', now, reason: `pool ${name}: ${reason}` },
    fence: session.turn,
    set: {
      ...{ parked_reason: parkedReasonOf(reason), parked_pool: name, resume_at: null },
      parked_evidence: JSON.stringify({ pool: name, kind: reason, opens_at, told }),
    },
  }).ok;
}

/** The first one starts at once; `now` itself would lie in the past for whoever waits for the next instant. */
function letFollow(tx: Tx, name: string, now: number, stagger_ms: number): number {
  const parked = tx.all<{ id: string; turn: number }>(
    "SELECT id, turn FROM sessions WHERE pool = :name AND state = 'parked' AND parked_pool = :name ORDER BY created_at, id",
    { name },
  );
  return parked.filter(({ id, turn }, nth) => {
    const set = { resume_at: now + 1 + nth * stagger_ms, parked_pool: null };
    const reason = `pool ${name} is open`;
    return transition(tx, { session_id: id, event: 'park', actor: 'supervisor', now, reason, fence: turn, set }).ok;
  }).length;
}
