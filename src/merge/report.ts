import type { MissingLine } from '../git/merge-commit.ts';
import { AppError, errorJson } from '../model/error.ts';
import { classify, classifyOnce, type MergeQueueEntry } from '../model/merge-queue.ts';
import type { Hold } from './facts.ts';
import type { EntryOutcome, Processed, Refusal } from './run.ts';

/** E-152, E-154. */
export interface MergedWorktree {
  session_id: string;
  branch: string;
  base_branch: string;
  already_up_to_date: boolean;
  cleaned_worktree: boolean;
}

/** What a queue came to (E-155), then what it consists of. */
export interface QueueReport {
  merged: MergedWorktree[];
  rebased: Omit<MergedWorktree, 'cleaned_worktree'>[];
  active_with_worktree_ids: string[];
  conflicted_session_ids: string[];
  dirty_worktree_ids: string[];
  blocked_by_queue_session_ids: string[];
  failures: { session_id: string; reason: string }[];
  /** What happened, in order. */
  outcomes: EntryOutcome[];
  /** What is left, in the order of the queue. */
  entries: MergeQueueEntry[];
  /** Lines that a merge lost of its sides, by session. */
  missing: { session_id: string; lines: MissingLine[]; truncated: boolean }[];
  /** Targets for which nothing could be done (any more). */
  refusals: { target: string; session_ids: string[]; error: Record<string, unknown> }[];
  exit_code: number;
  /** Names of the sessions by id, for people. */
  names: ReadonlyMap<string, string>;
}

export function mergedOf(outcome: EntryOutcome): MergedWorktree {
  const { session_id, branch, base_branch, cleaned_worktree } = outcome;
  return { session_id, branch, base_branch, already_up_to_date: outcome.outcome === 'up_to_date', cleaned_worktree };
}

function rebasedOf({ session_id, branch, base_branch }: EntryOutcome): QueueReport['rebased'][number] {
  return { session_id, branch, base_branch, already_up_to_date: false };
}

/** Puts the targets' results together (E-155, E-157, E-165). */
export function reportOf(
  all: readonly Processed[],
  refusals: readonly Refusal[],
  options: { is_single_pass: boolean },
): QueueReport {
  const outcomes = all.flatMap((each) => each.outcomes);
  const entries = all.flatMap((each) => each.entries);
  const held = new Map(all.flatMap((each) => [...each.known.values()].map(({ row, hold }) => [row.id, hold] as const)));
  const unread = new Map(
    all.flatMap((each) => [...each.known.values()].map(({ row, candidate }) => [row.id, candidate.error] as const)),
  );
  const judge = options.is_single_pass ? classifyOnce : classify;
  const idsOf = (wanted: string) =>
    entries
      .filter((entry) => unread.get(entry.session_id) == null || wanted === 'active')
      .filter((entry) => judge(entry) === wanted)
      .map((entry) => entry.session_id);
  const report = {
    merged: outcomes.filter(({ outcome }) => outcome === 'merged' || outcome === 'up_to_date').map(mergedOf),
    rebased: outcomes.filter(({ outcome }) => outcome === 'rebased').map(rebasedOf),
    active_with_worktree_ids: idsOf('active'),
    conflicted_session_ids: idsOf('conflicted'),
    dirty_worktree_ids: idsOf('dirty'),
    blocked_by_queue_session_ids: idsOf('blocked'),
    failures: failuresOf(outcomes, entries, unread),
  };
  const missing = outcomes
    .filter((each) => each.missing.length > 0 || each.missing_truncated)
    .map(({ session_id, missing: lines, missing_truncated: truncated }) => ({ session_id, lines, truncated }));
  const names = new Map(all.flatMap((each) => [...each.known.values()].map(({ row }) => [row.id, row.name] as const)));
  return {
    ...report,
    ...{ outcomes, entries, missing, names },
    refusals: refusals.map(({ target, session_ids, error }) => ({ target, session_ids, error: described(error) })),
    exit_code: exitCode(report, refusals, held, outcomes),
  };
}

/** Each failure of this call once; what was never readable is one (E-157). */
function failuresOf(
  outcomes: readonly EntryOutcome[],
  entries: readonly MergeQueueEntry[],
  unread: ReadonlyMap<string, string | null>,
): QueueReport['failures'] {
  const tried = outcomes
    .filter(({ outcome }) => outcome === 'conflict' || outcome === 'gate' || outcome === 'failed')
    .map(({ session_id, reason }) => ({ session_id, reason: reason ?? 'failed' }));
  const blind = entries.flatMap((entry) => {
    const reason = unread.get(entry.session_id);
    return reason == null || classify(entry) === 'active' ? [] : { session_id: entry.session_id, reason };
  });
  return [...tried, ...blind];
}

function described(error: unknown): Record<string, unknown> {
  return error instanceof AppError ? errorJson(error) : { message: String(error) };
}

/**
 * 3: a target was refused. 1: work of an ended session did not go in: conflict, uncommitted changes, failure, or it waits
 * behind one of these. 75: only gates stand in the way. 0: everything that has ended is in; who still lives, and who is not
 * completed and was not asked for, is no failure.
 */
function exitCode(
  report: Pick<
    QueueReport,
    'conflicted_session_ids' | 'dirty_worktree_ids' | 'blocked_by_queue_session_ids' | 'failures'
  >,
  refusals: readonly Refusal[],
  held: ReadonlyMap<string, Hold | null>,
  outcomes: readonly EntryOutcome[],
): number {
  if (refusals.length > 0) return 3;
  const gated = new Set(outcomes.filter(({ outcome }) => outcome === 'gate').map(({ session_id }) => session_id));
  const isGated = (id: string) => gated.has(id) || held.get(id) === 'gate';
  const ids = [
    ...report.conflicted_session_ids,
    ...report.dirty_worktree_ids,
    ...report.blocked_by_queue_session_ids.filter((id) => held.get(id) !== 'policy'),
    ...report.failures.map(({ session_id }) => session_id),
  ];
  if (ids.some((id) => !isGated(id))) return 1;
  return ids.length > 0 ? 75 : 0;
}
