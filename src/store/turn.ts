import type { Actor, SessionRow } from '../model/session.ts';
import type { EndCause, TurnRow } from '../model/turn.ts';
import { firstSpent } from './budget.ts';
import { appendEvent } from './event.ts';
import { isHalted } from './halted.ts';
import { type Claimed, claimInput, hasInput, PROMPT_ORDER } from './mail.ts';
import { startOf } from './pool.ts';
import { readSession } from './session.ts';
import { HELD_BY_PLAN, STARTABLE, WANTS_WORKTREE } from './startable.ts';
import { timeLeft } from './step-time.ts';
import type { Store, Tx } from './store.ts';
import { transition } from './transition.ts';
import { appendVerdict, type VerdictDraft } from './verdict.ts';

export interface ClaimInput {
  session_id: string;
  /** Number of the supervisor's lease; a claim under an older one is refused. */
  lease_fence: number;
  marker: string;
  /** Directory of the turn, from its number. */
  dir_of: (turn: number) => string;
  token_hash: string;
  max_in_flight: number;
  now: number;
  /** Midnight, for the budgets of a day; without it what was ever spent counts. */
  day?: number;
}

export interface Claim extends Claimed {
  session: SessionRow;
  turn: TurnRow;
}

/**
 * Takes the next turn of a queued or idle session: state, fence, turn row and its mail in one transaction (I2, I3, I4).
 * `null`: somebody was first, nothing is waiting (O-51), the back-off still runs, its pool is shut, its plan rests,
 * every slot is taken, it would be tried again while everything is halted, a budget of it is spent, or the lease is lost.
 * The disk need not have it yet (`Store.writeAhead`): whoever lets the turn's process run syncs the log first.
 */
export async function claimTurn(store: Store, input: ClaimInput): Promise<Claim | null> {
  return store.writeAhead((tx) => claimIn(tx, input));
}

function claimIn(tx: Tx, input: ClaimInput): Claim | null {
  const before = readSession(tx, input.session_id);
  if (before === null || (before.state !== 'queued' && before.state !== 'idle')) return null;
  if (before.next_turn_at !== null && before.next_turn_at > input.now) return null;
  if (before.attempt > 0 && isHalted(tx)) return null;
  if (isHeldByPlan(tx, before) || startOf(tx, before, input.now) !== 'go') return null;
  if (!hasInput(tx, before.id) || !holdsLease(tx, input.lease_fence)) return null;
  if (openTurn(tx, before.id) || inFlight(tx) >= input.max_in_flight) return null;
  if (firstSpent(tx, before, input.day ?? 0) !== null) return null;
  const number = before.turn + 1;
  const moved = transition(tx, {
    session_id: before.id,
    event: before.state === 'queued' ? 'claim_first' : 'claim_next',
    actor: 'supervisor',
    now: input.now,
    set: { turn: number, next_turn_at: null, token_hash: input.token_hash },
  });
  if (!moved.ok) return null;
  const turn = insertTurn(tx, before, {
    turn: number,
    marker: input.marker,
    dir: input.dir_of(number),
    started_at: input.now,
  });
  if (turn === null) return null;
  const claimed = claimInput(tx, before.id, number);
  appendEvent(tx, {
    session_id: before.id,
    turn: number,
    type: 'turn_start',
    data: { mails: claimed.mails.map((mail) => mail.id) },
    at: input.now,
  });
  return { session: moved.row, turn, ...claimed };
}

function isHeldByPlan(tx: Tx, { id, turn }: SessionRow): boolean {
  return turn === 0 && tx.get(`SELECT 1 FROM sessions AS s WHERE s.id = :id AND ${HELD_BY_PLAN}`, { id }) !== null;
}

/** Three small statements: as one, with a subquery and RETURNING, they cost six times as much. */
function insertTurn(
  tx: Tx,
  session: SessionRow,
  row: Pick<TurnRow, 'turn' | 'marker' | 'dir' | 'started_at'>,
): TurnRow | null {
  const { id, native_session_id: native } = session;
  const before =
    native === null
      ? null
      : tx.get<{ thread_json: string | null }>(
          'SELECT thread_json FROM turns WHERE session_id = :id AND native_session_after = :native ORDER BY turn DESC LIMIT 1',
          { id, native },
        );
  tx.run(
    `INSERT INTO turns (session_id, turn, marker, dir, started_at, native_session_before, thread_json, allowed_ms)
     VALUES (:id, :turn, :marker, :dir, :started_at, :native, :thread, :allowed_ms)`,
    { id, ...row, native, thread: before?.thread_json ?? null, allowed_ms: timeLeft(tx, session) },
  );
  return tx.get<TurnRow>('SELECT * FROM turns WHERE session_id = :id AND turn = :turn', { id, turn: row.turn });
}

/** Slots are counted by turns, so that processes which are just being ended still count (CX-12). */
function inFlight(tx: Tx): number {
  return tx.get<{ n: number }>('SELECT count(*) AS n FROM turns WHERE ended_at IS NULL')?.n ?? 0;
}

function openTurn(tx: Tx, session_id: string): boolean {
  return tx.get('SELECT 1 FROM turns WHERE session_id = :session_id AND ended_at IS NULL', { session_id }) !== null;
}

/** True while the supervisor that took `fence` is still the newest (second wall behind the kernel lock). */
function holdsLease(tx: Tx, fence: number): boolean {
  return tx.get("SELECT 1 FROM leases WHERE name = 'supervisor' AND fence = :fence", { fence }) !== null;
}

/** Takes the supervisor's lease; returns its fence, one more than any before. */
export async function takeLease(store: Store, holder: string, now: number): Promise<number> {
  return store.write((tx) => {
    const row = tx.get<{ fence: number }>(
      `INSERT INTO leases (name, holder, fence, taken_at) VALUES ('supervisor', :holder, 1, :now)
       ON CONFLICT (name) DO UPDATE SET holder = :holder, fence = leases.fence + 1, taken_at = :now, released_at = NULL
       RETURNING fence`,
      { holder, now },
    );
    return row?.fence ?? 0;
  });
}

/** The supervisor that took `fence` ends in good order: nobody has to bring it back. */
export async function releaseLease(store: Store, fence: number, now: number): Promise<void> {
  await store.write((tx) =>
    tx.run("UPDATE leases SET released_at = :now WHERE name = 'supervisor' AND fence = :fence", { now, fence }),
  );
}

/** `released`: the last supervisor ended in good order. `never`: there was none yet. */
export async function leaseState(store: Store): Promise<'taken' | 'released' | 'never'> {
  return store.read((tx) => {
    const row = tx.get<{ released_at: number | null }>("SELECT released_at FROM leases WHERE name = 'supervisor'");
    if (row === null) return 'never';
    return row.released_at === null ? 'taken' : 'released';
  });
}

/** Records whose process a turn is; a no-op once the turn has ended. */
export async function recordLaunch(
  store: Store,
  input: { session_id: string; turn: number; pid: number; pid_start_time: string; boot_id: string },
): Promise<boolean> {
  return store.write(
    (tx) =>
      tx.run(
        `UPDATE turns SET pid = :pid, pid_start_time = :pid_start_time, boot_id = :boot_id
         WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL`,
        { ...input },
      ) === 1,
  );
}

/**
 * Why drover ends this turn, with the verdict that says so; the first writer wins (`null` when somebody was first or the
 * turn is over).
 */
export async function markEndCause(store: Store, cause: EndCause, verdict: VerdictDraft): Promise<boolean> {
  return store.write((tx) => {
    const marked = tx.run(
      'UPDATE turns SET end_cause = :cause WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL AND end_cause IS NULL',
      { session_id: verdict.session_id, turn: verdict.turn, cause },
    );
    if (marked === 1) appendVerdict(tx, verdict);
    return marked === 1;
  });
}

/** A turn in flight with the session it belongs to. */
export interface OpenTurn {
  session: SessionRow;
  turn: TurnRow;
}

export async function openTurns(store: Store): Promise<OpenTurn[]> {
  return store.read((tx) =>
    tx.all<TurnRow>('SELECT * FROM turns WHERE ended_at IS NULL').flatMap((turn) => {
      const session = readSession(tx, turn.session_id);
      return session === null ? [] : [{ session, turn }];
    }),
  );
}

export async function getTurn(store: Store, session_id: string, turn: number): Promise<TurnRow | null> {
  return store.read((tx) =>
    tx.get<TurnRow>('SELECT * FROM turns WHERE session_id = :session_id AND turn = :turn', { session_id, turn }),
  );
}

/** How many turns are in flight. */
export async function turnsInFlight(store: Store): Promise<number> {
  return store.read(inFlight);
}

/** Repositories to ask for: these alone, or all but these. */
export type Places = { only: readonly string[] } | { except: readonly string[] };

/**
 * Sessions that could start a turn now: idle ones with something to read (they hold work already), then the oldest in
 * the queue. In the repositories `full` every slot for a worktree is taken: who waits for one is left out.
 */
export async function dispatchable(
  store: Store,
  now: number,
  limit: number,
  places: Places = { except: [] },
  full: readonly string[] = [],
): Promise<string[]> {
  return store.read((tx) => {
    const [word, roots] = 'only' in places ? ['IN', places.only] : ['NOT IN', places.except];
    // The plus: few sessions live, and the index by repository would walk through all that ever were there.
    const place = `+s.repo_root ${word} (SELECT value FROM json_each(:roots))`;
    const due = `${place} AND ${STARTABLE}`;
    const params = { now, limit, roots: JSON.stringify(roots) };
    const hasPlace = `NOT (${WANTS_WORKTREE} AND +s.repo_root IN (SELECT value FROM json_each(:full))
      AND NOT EXISTS (SELECT 1 FROM worktrees AS w WHERE w.session_id = s.id))`;
    // From the idle sessions to their mail and not the other way: mail of ended sessions may wait for ever.
    const idle = tx.all<{ id: string }>(
      `SELECT s.id FROM sessions AS s
       WHERE s.ended_at IS NULL AND s.state = 'idle' AND ${due}
         AND (EXISTS (SELECT 1 FROM mail WHERE to_id = s.id AND read_at IS NULL AND delivered_turn IS NULL)
           OR EXISTS (SELECT 1 FROM notifications WHERE parent_id = s.id AND delivered_at IS NULL AND delivered_turn IS NULL))
       ORDER BY s.updated_at, s.id LIMIT :limit`,
      params,
    );
    const queued = tx.all<{ id: string }>(
      `SELECT s.id FROM sessions AS s WHERE s.ended_at IS NULL AND s.state = 'queued' AND ${due}
         ${full.length > 0 ? `AND ${hasPlace}` : ''} ORDER BY s.created_at, s.id LIMIT :limit`,
      full.length > 0 ? { ...params, full: JSON.stringify(full) } : params,
    );
    return [...idle, ...queued].slice(0, limit).map((row) => row.id);
  });
}

/** Turns in flight that somebody wants ended. */
export async function turnsToEnd(store: Store): Promise<Pick<TurnRow, 'session_id' | 'turn' | 'end_cause'>[]> {
  return store.read((tx) =>
    tx.all('SELECT session_id, turn, end_cause FROM turns WHERE ended_at IS NULL AND end_cause IS NOT NULL'),
  );
}

/** Parked sessions whose time has come go back to the queue (guarded; returns how many). */
export async function releaseDue(store: Store, now: number, actor: Actor): Promise<number> {
  const due = (tx: Tx) =>
    tx.all<{ id: string }>(
      "SELECT id FROM sessions WHERE ended_at IS NULL AND state = 'parked' AND resume_at IS NOT NULL AND resume_at <= :now",
      { now },
    );
  if ((await store.read(due)).length === 0) return 0;
  // Asked again inside the transaction: a person may have paused one of them for good in between.
  return store.write(
    (tx) =>
      due(tx).filter(
        ({ id }) => transition(tx, { session_id: id, event: 'release', actor, now, reason: 'resume_at' }).ok,
      ).length,
  );
}

/**
 * The next instant later than `after` at which something waits for nothing but time; null when nothing does. What was
 * due by `after` is the business of whoever looked then: it may wait for a slot, and then no timer helps. (The plus keeps
 * the index of all the living from being preferred to the short one of those with an instant.)
 */
export async function nextDueAt(store: Store, after = 0): Promise<number | null> {
  return store.read(
    (tx) =>
      tx.get<{ at: number | null }>(
        `SELECT min(at) AS at FROM (
           SELECT min(next_turn_at) AS at FROM sessions WHERE next_turn_at > :after AND ended_at IS NULL AND +state IN ('queued','idle')
           UNION ALL SELECT min(resume_at) FROM sessions WHERE resume_at > :after AND ended_at IS NULL AND +state = 'parked'
           UNION ALL SELECT min(opens_at) FROM pools WHERE state = 'blocked' AND opens_at > :after
           UNION ALL SELECT min(retry_at) FROM pools WHERE state = 'open' AND retry_at > :after)`,
        { after },
      )?.at ?? null,
  );
}

/** The mail and notifications a claimed turn carries, as `claimTurn` returned them. */
export async function claimedInput(store: Store, session_id: string, turn: number): Promise<Claimed> {
  return store.read((tx) => ({
    mails: tx.all(`SELECT * FROM mail WHERE to_id = :session_id AND delivered_turn = :turn ORDER BY ${PROMPT_ORDER}`, {
      session_id,
      turn,
    }),
    notifications: tx.all(
      'SELECT * FROM notifications WHERE parent_id = :session_id AND delivered_turn = :turn ORDER BY seq',
      { session_id, turn },
    ),
  }));
}

/** A new token for the turn in flight (the text of the old one died with the supervisor that made it). */
export async function refreshToken(store: Store, session_id: string, token_hash: string): Promise<void> {
  await store.write((tx) =>
    tx.run('UPDATE sessions SET token_hash = :token_hash WHERE id = :session_id AND ended_at IS NULL', {
      token_hash,
      session_id,
    }),
  );
}
