import { type MailRow, OPERATOR } from '../model/mail.ts';
import type { ReservationRow, ThreadRow } from '../model/reservation.ts';
import { appendEvent } from './event.ts';
import { insertMail } from './mail.ts';
import { activeOn } from './reservation.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';

export type NewThread = Pick<
  ThreadRow,
  'repo_root' | 'branch' | 'target_branch' | 'base_commit' | 'base_tree' | 'task' | 'execution_path'
>;

function readThread(tx: Tx, repo_root: string, branch: string): ThreadRow | null {
  return tx.get<ThreadRow>('SELECT * FROM threads WHERE repo_root = :repo_root AND branch = :branch', {
    repo_root,
    branch,
  });
}

/** Where the work of a thread is done: its record's place, else that of the worktree on its branch; null: unknown (HC-17). */
export async function threadPath(store: Store, repo_root: string, branch: string): Promise<string | null> {
  return store.read((tx) => {
    const place = readThread(tx, repo_root, branch)?.execution_path;
    if (place) return place;
    const made = tx.get<{ path: string }>(
      'SELECT path FROM worktrees WHERE repo_root = :repo_root AND branch = :branch AND created_at IS NOT NULL LIMIT 1',
      { repo_root, branch },
    );
    return made?.path ?? null;
  });
}

/**
 * The record of a thread is made once and kept (HC-16). `created_for`: its branch was made for this reservation, which is
 * an event of its own (HC-15).
 */
export async function ensureThread(
  store: Store,
  input: { thread: NewThread; created_for: string | null; now: number },
): Promise<void> {
  await store.write((tx) => {
    const { thread, created_for, now } = input;
    ensureThreadIn(tx, thread, now);
    if (created_for === null) return;
    const data = { branch: thread.branch, commit: thread.base_commit };
    appendEvent(tx, { session_id: created_for, turn: null, type: 'thread_create', data, at: now });
  });
}

/** The same inside another transaction, without an event. */
export function ensureThreadIn(tx: Tx, thread: NewThread, now: number): void {
  tx.run(
    `INSERT INTO threads (repo_root, branch, target_branch, base_commit, base_tree, current_commit, task, execution_path,
       created_at, updated_at)
     VALUES (:repo_root, :branch, :target_branch, :base_commit, :base_tree, :base_commit, :task, :execution_path, :now, :now)
     ON CONFLICT (repo_root, branch) DO NOTHING`,
    { ...thread, now },
  );
}

/** What the thread has come to: by a capture, or when its branch is about to be removed. */
export async function noteCapture(
  store: Store,
  input: { repo_root: string; branch: string; commit: string; now: number },
): Promise<void> {
  await store.write((tx) =>
    tx.run(
      'UPDATE threads SET current_commit = :commit, updated_at = :now WHERE repo_root = :repo_root AND branch = :branch',
      input,
    ),
  );
}

/**
 * Head of a thread's branch as it was last told, for a branch that is gone: the commit of its removal or of a capture, else
 * the one by which it was merged; null when no work on it is known.
 */
export async function threadHead(store: Store, repo_root: string, branch: string): Promise<string | null> {
  return store.read((tx) => {
    const thread = readThread(tx, repo_root, branch);
    if (thread === null) return null;
    const { current_commit, base_commit, merged_commit } = thread;
    return current_commit === base_commit ? merged_commit : (current_commit ?? merged_commit);
  });
}

export interface Ready {
  /** False: the same commit was ready before, and nobody is told again. */
  changed: boolean;
  thread: ThreadRow;
  /** To the parent of the session that holds the reservation. */
  mail: MailRow | null;
}

/**
 * Marks a thread as ready to be merged, and tells the parent by `merge_ready` (HC-29, O-30), in one transaction. Null when
 * the reservation is not active any more, or has no record of its thread.
 */
export async function markReady(
  store: Store,
  input: { reservation: ReservationRow; commit: string; message: string | null; now: number },
): Promise<Ready | null> {
  const { reservation, commit, now } = input;
  return store.write((tx) => {
    if (activeOn(tx, reservation.repo_root, reservation.thread)?.session_id !== reservation.session_id) return null;
    const before = readThread(tx, reservation.repo_root, reservation.thread);
    if (before === null) return null;
    if (before.ready_commit === commit) return { changed: false, thread: before, mail: null };
    const thread = tx.get<ThreadRow>(
      `UPDATE threads SET ready_at = :now, ready_commit = :commit, current_commit = :commit, updated_at = :now
       WHERE repo_root = :repo_root AND branch = :branch RETURNING *`,
      { repo_root: before.repo_root, branch: before.branch, commit, now },
    );
    return thread === null ? null : { changed: true, thread, mail: tellParent(tx, thread, input) };
  });
}

function tellParent(
  tx: Tx,
  { branch, target_branch, ready_commit }: ThreadRow,
  { reservation, message, now }: { reservation: ReservationRow; message: string | null; now: number },
): MailRow | null {
  const session = reservation.owner_session_id === null ? null : readSession(tx, reservation.owner_session_id);
  if (session === null || session.parent_id === null) return null;
  const parent = readSession(tx, session.parent_id);
  const to = parent === null || parent.ended_at !== null ? { name: OPERATOR, id: null } : parent;
  const payload = { branch, commit: ready_commit, target: target_branch, reservation: reservation.session_id };
  return insertMail(
    tx,
    {
      from_name: session.name,
      from_id: session.id,
      to_name: to.name,
      to_id: to.id,
      type: 'merge_ready',
      priority: 'normal',
      subject: `${branch} is ready to be merged`.slice(0, 500),
      body: message ?? `The work on ${branch} is ready at ${ready_commit}.`,
      payload_json: JSON.stringify(payload),
    },
    now,
  );
}
