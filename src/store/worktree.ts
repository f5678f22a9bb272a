import { SYSTEM } from '../model/mail.ts';
import type { WorktreeRow } from '../model/merge.ts';
import type { Anchor } from '../model/reservation.ts';
import type { SessionRow } from '../model/session.ts';
import { appendEvent, type EventDraft } from './event.ts';
import { insertMail } from './mail.ts';
import type { OwnerProbe } from './reservation.ts';
import { reserveBranch } from './reservation-session.ts';
import { STARTABLE, WANTS_WORKTREE } from './startable.ts';
import type { Store, Tx } from './store.ts';

/** In the queue, and still without the worktree it asked for. */
const WAITS = `s.ended_at IS NULL AND s.state = 'queued' AND ${WANTS_WORKTREE}`;

/**
 * `full`: every slot is taken. `later`: somebody older comes first, or its old worktree is just being removed. `gone`: it
 * does not wait for one any more. `path_taken`: another session has a worktree at this path.
 */
export type SlotAnswer = { row: WorktreeRow } | { row: null; why: 'full' | 'later' | 'gone' | 'path_taken' };

/**
 * Takes a slot for a queued session's worktree, in one statement (I11, E-012, E-014): fewer slots of its repository are
 * taken than `max`, and no older session that could start is left without. A session that has a slot keeps it, whatever
 * `max` says by now. Slots are rows, so that those of ended sessions count until their worktrees are gone (E-013).
 */
export async function claimSlot(
  store: Store,
  input: { session_id: string; path: string; max: number; now: number },
): Promise<SlotAnswer> {
  return store.write((tx) => {
    const held = claimOf(tx, input.session_id);
    if (held !== null) return { row: held };
    const row = tx.get<WorktreeRow>(
      `INSERT INTO worktrees (path, session_id, repo_root, branch, base_commit, claimed_at)
       SELECT :path, me.id, me.repo_root, me.branch, me.base_ref, :now FROM sessions AS me
       WHERE me.id = :session_id AND EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = me.id AND ${WAITS})
         AND (SELECT count(*) FROM worktrees WHERE repo_root = me.repo_root) + (SELECT count(*) FROM (
           SELECT 1 FROM sessions AS s WHERE ${WAITS} AND +s.repo_root = me.repo_root AND ${STARTABLE}
             AND (s.created_at, s.id) < (me.created_at, me.id)
             AND NOT EXISTS (SELECT 1 FROM worktrees AS w WHERE w.session_id = s.id) LIMIT :max)) < :max
       ON CONFLICT DO NOTHING RETURNING *`,
      input,
    );
    return row === null ? { row, why: whyNot(tx, input) } : { row };
  });
}

function claimOf(tx: Tx, session_id: string): WorktreeRow | null {
  return tx.get<WorktreeRow>(
    `SELECT w.* FROM worktrees AS w JOIN sessions AS s ON s.id = w.session_id
     WHERE w.session_id = :session_id AND w.created_at IS NULL AND w.removing_at IS NULL AND ${WAITS}`,
    { session_id },
  );
}

function whyNot(tx: Tx, { session_id, path, max }: { session_id: string; path: string; max: number }) {
  const row = tx.get<{ repo_root: string }>(
    `SELECT s.repo_root FROM sessions AS s WHERE s.id = :session_id AND ${WAITS}`,
    {
      session_id,
    },
  );
  if (row === null) return 'gone';
  const there = tx.get<{ session_id: string }>('SELECT session_id FROM worktrees WHERE path = :path', { path });
  // Its own, which is just being removed.
  if (there?.session_id === session_id) return 'later';
  if (there !== null) return 'path_taken';
  const { n } = tx.get<{ n: number }>('SELECT count(*) AS n FROM worktrees WHERE repo_root = :repo_root', row) ?? {
    n: 0,
  };
  return n >= max ? 'full' : 'later';
}

/**
 * Records that the worktree of a slot is made, where its session works from now on, and that it has the branch alone: all
 * or nothing. False when the session does not wait for it any more. Throws `live_owner` (3).
 */
export async function settleSlot(
  store: Store,
  { anchor, probe, ...input }: { session_id: string; path: string; anchor: Anchor; probe: OwnerProbe; now: number },
): Promise<boolean> {
  return store.write((tx) => {
    const settled = tx.run(
      'UPDATE worktrees SET created_at = :now WHERE path = :path AND session_id = :session_id AND created_at IS NULL',
      input,
    );
    if (settled === 0) return false;
    const attached = tx.get<SessionRow>(
      `UPDATE sessions AS s SET worktree_path = :path, working_dir = :path, base_commit = s.base_ref, updated_at = :now
       WHERE s.id = :session_id AND ${WAITS} RETURNING *`,
      input,
    );
    if (attached !== null) {
      reserveBranch(tx, attached, { anchor, probe, now: input.now });
      return true;
    }
    tx.run('UPDATE worktrees SET created_at = NULL WHERE path = :path', { path: input.path });
    return false;
  });
}

/**
 * The work of a session that waits for its worktree begins somewhere else: row and slot say so, and the session is told, once,
 * in one transaction. Null when it does not wait for one any more.
 */
export async function moveBase(
  store: Store,
  input: { session_id: string; path: string; base: string; subject: string; body: string; now: number },
): Promise<{ row: SessionRow; slot: WorktreeRow } | null> {
  const { session_id, path, base, subject, body, now } = input;
  return store.write((tx) => {
    if (claimOf(tx, session_id) === null) return null;
    const set = { session_id, base };
    const slot = tx.get<WorktreeRow>(
      'UPDATE worktrees SET base_commit = :base WHERE path = :path AND session_id = :session_id RETURNING *',
      { ...set, path },
    );
    const row = tx.get<SessionRow>('UPDATE sessions SET base_ref = :base WHERE id = :session_id RETURNING *', set);
    if (slot === null || row === null) return null;
    const isTold = tx.get(
      'SELECT 1 FROM mail WHERE to_id = :session_id AND read_at IS NULL AND from_name = :SYSTEM AND body = :body',
      { session_id, SYSTEM, body },
    );
    const note = { from_name: SYSTEM, from_id: null, type: 'nudge' as const, priority: 'high' as const };
    const mail = { ...note, to_name: row.name, to_id: row.id, subject, body, payload_json: null };
    if (isTold === null) insertMail(tx, mail, now);
    return { row, slot };
  });
}

/** Gives a slot back whose worktree was not made after all; false when it was. */
export async function dropSlot(store: Store, slot: Pick<WorktreeRow, 'path' | 'session_id'>): Promise<boolean> {
  const { path, session_id } = slot;
  return store.write(
    (tx) =>
      tx.run('DELETE FROM worktrees WHERE path = :path AND session_id = :session_id AND created_at IS NULL', {
        path,
        session_id,
      }) === 1,
  );
}

/** A worktree is gone: its slot is free, unless a session has it (again). */
export async function freeSlot(store: Store, path: string): Promise<void> {
  await store.write((tx) =>
    tx.run(
      'DELETE FROM worktrees WHERE path = :path AND NOT EXISTS (SELECT 1 FROM sessions WHERE worktree_path = :path)',
      { path },
    ),
  );
}

/** So long a removal may take; whoever began one earlier was killed in the middle of it. */
const REMOVAL_MS = 15 * 60_000;

/** Removals that were cut off become claims again: a session that waits finds its worktree, or somebody takes it away. */
export async function dropRemovals(store: Store, now: number): Promise<number> {
  const due = { by: now - REMOVAL_MS };
  const found = (tx: Tx) => tx.get('SELECT 1 FROM worktrees WHERE removing_at < :by', due) !== null;
  if (!(await store.read(found))) return 0;
  return store.write((tx) =>
    tx.run('UPDATE worktrees SET removing_at = NULL, created_at = NULL WHERE removing_at < :by', due),
  );
}

/**
 * What a supervisor that was killed was taking back (`takeStray`) are claims again, at once: only a supervisor does that, and
 * there is one. To be called before ours begins with anything.
 */
export async function returnStrays(store: Store): Promise<number> {
  const cut_off = 'created_at IS NULL AND removing_at IS NOT NULL';
  if ((await store.read((tx) => tx.get(`SELECT 1 FROM worktrees WHERE ${cut_off}`))) === null) return 0;
  return store.write((tx) => tx.run(`UPDATE worktrees SET removing_at = NULL WHERE ${cut_off}`));
}

/** Slots of which nobody will make use: their session has ended, or does not exist, and no worktree was attached. */
export async function strayClaims(store: Store): Promise<WorktreeRow[]> {
  return store.read((tx) =>
    tx.all<WorktreeRow>(
      `SELECT w.* FROM worktrees AS w WHERE w.created_at IS NULL AND w.removing_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = w.session_id AND ${WAITS}) ORDER BY w.claimed_at, w.path`,
    ),
  );
}

/**
 * Takes such a slot to take back what it has led to, in one statement (I22): from then on its session, should it be resumed,
 * waits until `dropSlot` or `returnStray`. False when a session has need of it by now, or somebody else has taken it.
 */
export async function takeStray(store: Store, slot: Stray, now: number): Promise<boolean> {
  return store.write(
    (tx) =>
      tx.run(
        `UPDATE worktrees AS w SET removing_at = :now
         WHERE w.path = :path AND w.session_id = :session_id AND w.claimed_at = :claimed_at
           AND w.created_at IS NULL AND w.removing_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = w.session_id AND ${WAITS})`,
        { ...keyOf(slot), now },
      ) === 1,
  );
}

/** Lets go of one that could not be taken back: it is a claim again, which its session finds. */
export async function returnStray(store: Store, slot: Stray): Promise<void> {
  await store.write((tx) =>
    tx.run(
      `UPDATE worktrees SET removing_at = NULL
       WHERE path = :path AND session_id = :session_id AND claimed_at = :claimed_at AND created_at IS NULL`,
      keyOf(slot),
    ),
  );
}

type Stray = Pick<WorktreeRow, 'path' | 'session_id' | 'claimed_at'>;

const keyOf = ({ path, session_id, claimed_at }: Stray) => ({ path, session_id, claimed_at });

/** How the slots of one repository are taken. */
export interface SlotCount {
  repo_root: string;
  held: number;
  /** Of these, by sessions that have ended (CX-23). */
  held_by_ended: number;
}

/** Every repository that has a worktree. Few rows: there are as many as slots, and as sessions that live. */
export async function slotCounts(store: Store): Promise<SlotCount[]> {
  return store.read((tx) =>
    tx.all<SlotCount>(
      `SELECT w.repo_root, count(*) AS held, total(s.ended_at IS NOT NULL OR s.id IS NULL) AS held_by_ended
       FROM worktrees AS w LEFT JOIN sessions AS s ON s.id = w.session_id GROUP BY w.repo_root ORDER BY w.repo_root`,
    ),
  );
}

/** Sessions of a repository that wait for a slot, who comes first first. */
export async function slotQueue(
  store: Store,
  repo_root: string,
  limit = 1_000,
): Promise<Pick<SessionRow, 'id' | 'name'>[]> {
  return store.read((tx) =>
    tx.all(
      `SELECT s.id, s.name FROM sessions AS s WHERE ${WAITS} AND +s.repo_root = :repo_root
         AND NOT EXISTS (SELECT 1 FROM worktrees AS o WHERE o.session_id = s.id) ORDER BY s.created_at, s.id LIMIT :limit`,
      { repo_root, limit },
    ),
  );
}

/** The slot of a session's worktree, which a successor of it may have taken over; null when it has none. */
export async function worktreeOf(
  store: Store,
  { id, worktree_path }: Pick<SessionRow, 'id' | 'worktree_path'>,
): Promise<WorktreeRow | null> {
  return store.read((tx) =>
    tx.get<WorktreeRow>(
      'SELECT * FROM worktrees WHERE session_id = :id OR path = :path ORDER BY session_id <> :id LIMIT 1',
      {
        id,
        path: worktree_path,
      },
    ),
  );
}

/** A slot with the session it belongs to; null when there is no such session. */
export interface HeldSlot {
  slot: WorktreeRow;
  session: SessionRow | null;
}

/** Slots of one repository, or of all; those whose session ended first come first, then by age. */
export async function heldSlots(store: Store, repo_root: string | null): Promise<HeldSlot[]> {
  return store.read((tx) =>
    tx
      .all<WorktreeRow>(
        `SELECT w.* FROM worktrees AS w LEFT JOIN sessions AS s ON s.id = w.session_id
         WHERE :repo_root IS NULL OR w.repo_root = :repo_root
         ORDER BY s.ended_at IS NULL AND s.id IS NOT NULL, s.ended_at, w.claimed_at, w.path`,
        { repo_root },
      )
      .map((slot) => ({
        slot,
        session: tx.get<SessionRow>('SELECT * FROM sessions WHERE id = :id', { id: slot.session_id }),
      })),
  );
}

/** Sessions at rest that a worktree belongs to: the newest has it, the others had it before and were recovered. */
export async function endedOwners(store: Store, path: string): Promise<string[]> {
  return store.read((tx) =>
    tx
      .all<{ id: string }>('SELECT id FROM sessions WHERE worktree_path = :path AND ended_at IS NOT NULL', { path })
      .map(({ id }) => id),
  );
}

/** Live sessions below `id` in the tree of sessions: their work may still go into its worktree (O-85). */
export async function liveDescendants(store: Store, id: string): Promise<Pick<SessionRow, 'id' | 'name' | 'state'>[]> {
  return store.read((tx) =>
    tx.all(
      `WITH RECURSIVE below(id, n) AS (
         SELECT id, 1 FROM sessions WHERE parent_id = :id
         UNION SELECT s.id, below.n + 1 FROM below JOIN sessions AS s ON s.parent_id = below.id WHERE below.n < 64)
       SELECT s.id, s.name, s.state FROM sessions AS s JOIN below ON below.id = s.id
       WHERE s.ended_at IS NULL ORDER BY s.created_at, s.id`,
      { id },
    ),
  );
}

/** One event of drover's own about a session's worktree. */
export async function recordEvent(store: Store, event: EventDraft): Promise<void> {
  await store.write((tx) => appendEvent(tx, event));
}
