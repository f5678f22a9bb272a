import { OPERATOR, SYSTEM } from '../model/mail.ts';
import type { MergeOutcome, MergeRow } from '../model/merge.ts';
import type { ReservationRow } from '../model/reservation.ts';
import type { SessionRow } from '../model/session.ts';
import { AT_REST } from './at-rest.ts';
import { appendEvent } from './event.ts';
import { resolveIncidentsOf } from './incident-end.ts';
import { insertMail, type MailDraft } from './mail.ts';
import { moveIn } from './reservation.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';

/** A worktree of its own, and nobody has gone on in that. */
const IS_NEWEST = `sessions.worktree_path IS NOT NULL AND sessions.branch IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM sessions AS n WHERE n.worktree_path = sessions.worktree_path
    AND (n.created_at > sessions.created_at OR (n.created_at = sessions.created_at AND n.rowid > sessions.rowid)))`;

/** `m` brought it where it is meant to go, after its end. */
const MERGED_SINCE = `m.session_id = sessions.id AND m.target = coalesce(:into, sessions.base_branch)
  AND m.outcome IN ('merged', 'up_to_date') AND m.ended_at >= sessions.ended_at`;

/**
 * Sessions of a repository that have a worktree of their own and work that was not merged since into `into` (null: the
 * branch it is meant for): the newest of each worktree, because a recovered session goes on in that of the one before.
 */
export async function mergeCandidates(store: Store, repo_root: string, into: string | null): Promise<SessionRow[]> {
  return store.read((tx) =>
    tx.all<SessionRow>(
      `SELECT * FROM sessions WHERE repo_root = :repo_root AND ${IS_NEWEST}
         AND NOT EXISTS (SELECT 1 FROM merges AS m WHERE ${MERGED_SINCE})
       ORDER BY created_at, rowid`,
      { repo_root, into },
    ),
  );
}

/** Of one that is merged: the attempt by which it got in, and the head of its branch then. */
export type MergedCandidate = SessionRow & { merged_seq: number; merged_head: string; merged_target: string };

/** Those that `mergeCandidates` leaves out because they are merged, and that have their worktree still. */
export async function mergedCandidates(
  store: Store,
  repo_root: string,
  into: string | null,
): Promise<MergedCandidate[]> {
  return store.read((tx) =>
    tx.all<MergedCandidate>(
      `SELECT sessions.*, m.seq AS merged_seq, m.head AS merged_head, m.target AS merged_target
       FROM sessions JOIN merges AS m ON ${MERGED_SINCE}
       WHERE sessions.repo_root = :repo_root AND ${IS_NEWEST}
         AND NOT EXISTS (SELECT 1 FROM merges AS n WHERE n.session_id = m.session_id AND n.target = m.target
           AND n.outcome IN ('merged', 'up_to_date') AND n.seq > m.seq)
       ORDER BY sessions.created_at, sessions.rowid`,
      { repo_root, into },
    ),
  );
}

export interface MergeClaim {
  session_id: string;
  branch: string;
  head: string;
}

/**
 * Claims one attempt per session, before git is asked; those that landed, in the order given. One does not land when its
 * session lives again, a turn of it is still being ended, or another merge of it is under way.
 */
export async function claimMerges(
  store: Store,
  input: {
    claims: readonly MergeClaim[];
    repo_root: string;
    target: string;
    base_head: string;
    /** `rebase`: what is claimed is the right to write its commits anew. */
    reason?: 'rebase';
    now: number;
  },
): Promise<MergeRow[]> {
  const { claims, reason = null, ...rest } = input;
  const shared = { ...rest, reason };
  return store.write((tx) =>
    claims.flatMap(
      (claim) =>
        tx.get<MergeRow>(
          `INSERT INTO merges (session_id, repo_root, branch, target, head, base_head, started_at, reason)
           SELECT id, :repo_root, :branch, :target, :head, :base_head, :now, :reason FROM sessions
           WHERE id = :session_id AND ${AT_REST} ON CONFLICT DO NOTHING RETURNING *`,
          { ...shared, session_id: claim.session_id, branch: claim.branch, head: claim.head },
        ) ?? [],
    ),
  );
}

/**
 * Notes what the target is about to become, before it does: whoever finds the attempt unfinished knows by this commit
 * whether it took place. Returns how many are still open; the target must not move unless all are.
 */
export async function planMerges(
  store: Store,
  plans: readonly { seq: number; base_head: string; merged_commit: string | null }[],
): Promise<number> {
  return store.write((tx) =>
    plans.reduce(
      (sum, { seq, base_head, merged_commit }) =>
        sum +
        tx.run(
          'UPDATE merges SET base_head = :base_head, merged_commit = :merged_commit WHERE seq = :seq AND ended_at IS NULL',
          { seq, base_head, merged_commit },
        ),
      0,
    ),
  );
}

export interface MergedAttempt {
  seq: number;
  outcome: 'merged' | 'up_to_date';
  /** The commit of the target that has its work. */
  merged_commit: string;
  /** JSON of the lines that the result lacks, or null. */
  missing_json: string | null;
}

/**
 * The work is in the target: attempt, mail and event in one transaction, and if it is meant for this target, session, line
 * of work and incidents, too. Returns the attempts that were still open; somebody else has settled the others.
 */
export async function settleMerged(
  store: Store,
  input: { attempts: readonly MergedAttempt[]; by: string; now: number },
): Promise<MergeRow[]> {
  return store.write((tx) =>
    input.attempts.flatMap((attempt) => {
      const row = closeAttempt(tx, { ...attempt, reason: null, output: null, now: input.now });
      if (row === null) return [];
      const session = readSession(tx, row.session_id);
      if (session !== null) mergedEffects(tx, session, row, input);
      return row;
    }),
  );
}

function mergedEffects(tx: Tx, session: SessionRow, row: MergeRow, { by, now }: { by: string; now: number }): void {
  const data = { target: row.target, branch: row.branch, commit: row.merged_commit, outcome: row.outcome, by };
  // Its work is done where it is meant to go, not in any branch that took it as well.
  if (session.base_branch === null || session.base_branch === row.target) {
    tx.run('UPDATE sessions SET merged_commit = :merged_commit, merged_at = :now WHERE id = :id', {
      ...{ id: session.id, merged_commit: row.merged_commit, now },
    });
    endLine(tx, session, row, now);
    resolveIncidentsOf(tx, session.id, `merged: ${session.name}`, now);
  }
  appendEvent(tx, { session_id: session.id, turn: null, type: 'merged', data, at: now });
  const parent = session.parent_id === null ? null : readSession(tx, session.parent_id);
  if (parent === null || parent.ended_at !== null) return;
  insertMail(
    tx,
    {
      ...drover('merged', `${session.name} is merged into ${row.target}`),
      ...{ to_name: parent.name, to_id: parent.id, payload_json: JSON.stringify({ session_id: session.id, ...data }) },
      body: `The branch ${row.branch} of ${session.name} is in ${row.target} as ${row.merged_commit}.`,
    },
    now,
  );
}

/** Its line of work is merged: the thread, and the session's own reservation of it (MODEL §3). */
function endLine(tx: Tx, session: SessionRow, { repo_root, branch, merged_commit }: MergeRow, now: number): void {
  tx.run(
    'UPDATE threads SET merged_commit = :merged_commit, updated_at = :now WHERE repo_root = :repo_root AND branch = :branch',
    {
      ...{ repo_root, branch, merged_commit, now },
    },
  );
  const own = tx.all<ReservationRow>(
    `SELECT * FROM reservations WHERE repo_root = :repo_root AND thread = :branch
       AND (owner_session_id = :id OR session_id = :id)`,
    { repo_root, branch, id: session.id },
  );
  for (const reservation of own) moveIn(tx, reservation, { to: 'merged', mover: 'merge', now });
}

function drover(type: 'merged' | 'merge_failed', subject: string): Omit<MailDraft, 'to_name' | 'to_id' | 'body'> {
  const priority = type === 'merged' ? 'normal' : 'high';
  return { from_name: SYSTEM, from_id: null, type, priority, subject, payload_json: null };
}

export interface FailedAttempt {
  seq: number;
  outcome: Exclude<MergeOutcome, 'merged' | 'up_to_date'>;
  reason: string;
  output: string | null;
  /** Told to the session if it lives, else to its parent if that lives, else to the operator; null: nobody. */
  mail: { subject: string; body: string } | null;
}

/** Ends attempts that moved nothing. Returns those that were still open. */
export async function settleFailed(
  store: Store,
  input: { attempts: readonly FailedAttempt[]; now: number },
): Promise<MergeRow[]> {
  return store.write((tx) =>
    input.attempts.flatMap((attempt) => {
      const { mail, ...end } = attempt;
      const row = closeAttempt(tx, { ...end, merged_commit: null, missing_json: null, now: input.now });
      if (row === null) return [];
      const session = readSession(tx, row.session_id);
      if (session === null) return row;
      const data = { target: row.target, branch: row.branch, outcome: row.outcome, reason: row.reason };
      appendEvent(tx, {
        ...{ session_id: session.id, turn: null, type: 'merge_failed', level: 'warning', data, at: input.now },
      });
      if (mail !== null) tellOf(tx, session, row, mail, input.now);
      return row;
    }),
  );
}

function tellOf(
  tx: Tx,
  session: SessionRow,
  row: MergeRow,
  { subject, body }: { subject: string; body: string },
  now: number,
): void {
  const parent = session.parent_id === null ? null : readSession(tx, session.parent_id);
  const reader = [session, parent].find((each) => each !== null && each.ended_at === null) ?? null;
  const { session_id, branch, target, head, base_head } = row;
  const payload_json = JSON.stringify({ session_id, branch, target, head, base_head });
  const to = { to_name: reader?.name ?? OPERATOR, to_id: reader?.id ?? null };
  insertMail(tx, { ...drover('merge_failed', subject), ...to, body, payload_json }, now);
}

/** One guarded write; null when the attempt was ended before. */
function closeAttempt(
  tx: Tx,
  end: Pick<MergeRow, 'seq' | 'outcome' | 'merged_commit' | 'reason' | 'output' | 'missing_json'> & { now: number },
): MergeRow | null {
  const { seq, outcome, merged_commit, reason, output, missing_json, now } = end;
  return tx.get<MergeRow>(
    `UPDATE merges SET ended_at = :now, outcome = :outcome, merged_commit = :merged_commit, reason = :reason,
       output = :output, missing_json = :missing_json
     WHERE seq = :seq AND ended_at IS NULL RETURNING *`,
    { seq, outcome, merged_commit, reason, output, missing_json, now },
  );
}

/** Takes claims back that nothing was done for, as if they had not been made. One with a plan stays: it may have come true. */
export async function dropClaims(store: Store, seqs: readonly number[]): Promise<void> {
  if (seqs.length === 0) return;
  await store.write((tx) => {
    for (const seq of seqs)
      tx.run('DELETE FROM merges WHERE seq = :seq AND ended_at IS NULL AND merged_commit IS NULL', { seq });
  });
}

/** The branch of a session stands on another commit now: its claim ends, and its row says so. False: it was ended before. */
export async function settleRebased(
  store: Store,
  input: { seq: number; session_id: string; base_commit: string; target: string; by: string; now: number },
): Promise<boolean> {
  const { seq, session_id, base_commit, target, by, now } = input;
  return store.write((tx) => {
    if (tx.run('DELETE FROM merges WHERE seq = :seq AND ended_at IS NULL', { seq }) === 0) return false;
    tx.run('UPDATE sessions SET base_commit = :base_commit WHERE id = :session_id', { session_id, base_commit });
    appendEvent(tx, { session_id, turn: null, type: 'rebased', data: { onto: base_commit, target, by }, at: now });
    return true;
  });
}

/** The newest attempt by which a session's work got into a target; null when there is none. */
export async function mergedInto(store: Store, session_id: string, target: string): Promise<MergeRow | null> {
  return store.read((tx) =>
    tx.get<MergeRow>(
      `SELECT * FROM merges WHERE session_id = :session_id AND target = :target AND outcome IN ('merged', 'up_to_date')
       ORDER BY seq DESC LIMIT 1`,
      { session_id, target },
    ),
  );
}

/** How many of a session's newest attempts in a row ended because whoever was at it was killed. */
export async function mergesCutOff(store: Store, session_id: string): Promise<number> {
  const isCut = `outcome = 'failed' AND reason = 'interrupted'`;
  return store.read(
    (tx) =>
      tx.get<{ n: number }>(
        `SELECT count(*) AS n FROM merges WHERE session_id = :session_id AND ${isCut} AND seq >
           coalesce((SELECT max(seq) FROM merges WHERE session_id = :session_id AND ended_at IS NOT NULL AND NOT (${isCut})), 0)`,
        { session_id },
      )?.n ?? 0,
  );
}

/** Attempts under way in a repository; null: in any. */
export async function openMerges(store: Store, repo_root: string | null): Promise<MergeRow[]> {
  return store.read((tx) =>
    tx.all<MergeRow>(
      'SELECT * FROM merges WHERE repo_root = coalesce(:repo_root, repo_root) AND ended_at IS NULL ORDER BY seq',
      {
        repo_root,
      },
    ),
  );
}

/** How the newest attempt of each session ended, for those that ended without being merged. */
export async function lastFailures(store: Store, repo_root: string): Promise<Map<string, MergeRow>> {
  const rows = await store.read((tx) =>
    tx.all<MergeRow>(
      `SELECT * FROM merges AS m WHERE repo_root = :repo_root AND outcome IN ('gate', 'conflict')
         AND NOT EXISTS (SELECT 1 FROM merges AS n WHERE n.session_id = m.session_id AND n.seq > m.seq)`,
      { repo_root },
    ),
  );
  return new Map(rows.map((row) => [row.session_id, row]));
}

/** What was marked as ready to be merged into a target (HC-29): the commit, by branch. */
export async function readyCommits(store: Store, repo_root: string, target: string): Promise<Map<string, string>> {
  const rows = await store.read((tx) =>
    tx.all<{ branch: string; ready_commit: string }>(
      `SELECT branch, ready_commit FROM threads WHERE repo_root = :repo_root AND ready_commit IS NOT NULL
         AND (target_branch IS NULL OR target_branch = :target)`,
      { repo_root, target },
    ),
  );
  return new Map(rows.map((row) => [row.branch, row.ready_commit]));
}

/** Main roots of the repositories in which something was ever merged. */
export async function mergedRepositories(store: Store): Promise<string[]> {
  return store.read((tx) =>
    tx
      .all<{ repo_root: string }>('SELECT DISTINCT repo_root FROM merges ORDER BY repo_root')
      .map(({ repo_root }) => repo_root),
  );
}
