import { foldersOf } from './path.ts';
import { isTerminal, type SessionState } from './session.ts';

/** What a merge into its base would meet (E-176): nothing of its own, work that goes in, or conflicts. */
export type WorktreeHealth = 'clear' | 'in_progress' | 'conflicted';

/** One reason why an entry cannot be merged now; `session_id` is its own when the reason lies with itself (E-159). */
export interface MergeQueueBlocker {
  session_id: string;
  branch: string;
  state: SessionState;
  /** Paths, as git names them. */
  conflicts: string[];
  summary: string;
  conflicting_patch_preview: string | null;
  blocker_patch_preview: string | null;
}

/** One line of the queue (E-159). Exactly these fields leave the program. */
export interface MergeQueueEntry {
  session_id: string;
  task: string;
  project: string;
  task_group: string;
  branch: string;
  base_branch: string;
  state: SessionState;
  worktree_health: WorktreeHealth;
  dirty: boolean;
  /** From 1, without gaps, among those that are ready; null for the others. */
  queue_position: number | null;
  ready_to_merge: boolean;
  blocked_by: MergeQueueBlocker[];
  suggested_action: string;
}

/** What is known about one session's branch when the queue is built. */
export interface Candidate {
  session_id: string;
  task: string;
  project: string;
  task_group: string;
  branch: string;
  base_branch: string;
  state: SessionState;
  updated_at: number;
  worktree_health: WorktreeHealth;
  /** Why its facts could not be read; the others then mean nothing (E-166). */
  error: string | null;
  /** Paths in conflict with the base, and what the readiness check says about them. */
  base_conflicts: string[];
  base_summary: string;
  base_preview: string | null;
  dirty: boolean;
  dirty_preview: string | null;
  /** Why the queue does not take it although it could: its settings, or how an earlier attempt ended. */
  held: string | null;
  /** Paths its branch changes against the base. */
  paths: readonly string[];
}

/** Two branches that cannot both go in as they are. Previews are of the earlier and of the later one. */
export interface PairConflict {
  conflicts: string[];
  earlier_preview: string | null;
  later_preview: string | null;
}

/** Finished ones first, then who has waited longest; the rest only makes the order total (E-158). */
export function orderCandidates(candidates: readonly Candidate[]): Candidate[] {
  return candidates.toSorted(
    (a, b) =>
      Number(isTerminal(b.state)) - Number(isTerminal(a.state)) ||
      a.updated_at - b.updated_at ||
      compare(a.project, b.project) ||
      compare(a.task_group, b.task_group) ||
      compare(a.session_id, b.session_id),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Nothing about itself stands in its way. */
function isMergeable(candidate: Candidate): boolean {
  return selfBlockers(candidate).length === 0;
}

/**
 * Pairs that have to be compared, the earlier first: both mergeable, and both change a path, or one a path below a path
 * of the other. Only a hint: what is left out here is still found when the merge is built.
 */
export function pairsToCompare(ordered: readonly Candidate[]): [earlier: Candidate, later: Candidate][] {
  const mergeable = ordered.filter(isMergeable);
  const users = new Map<string, number[]>();
  mergeable.forEach(({ paths }, at) => {
    for (const path of new Set(paths)) users.set(path, [...(users.get(path) ?? []), at]);
  });
  const pairs = new Set<string>();
  const note = (a: number, b: number) => {
    if (a !== b) pairs.add(`${Math.min(a, b)} ${Math.max(a, b)}`);
  };
  for (const [path, ats] of users) {
    ats.forEach((a, i) => {
      for (const b of ats.slice(i + 1)) note(a, b);
    });
    for (const parent of foldersOf(path)) for (const a of users.get(parent) ?? []) for (const b of ats) note(a, b);
  }
  return [...pairs]
    .map((key) => key.split(' ').map(Number) as [number, number])
    .sort(([a, b], [c, d]) => b - d || a - c)
    .flatMap(([a, b]) => {
      const [earlier, later] = [mergeable[a], mergeable[b]];
      return earlier !== undefined && later !== undefined ? [[earlier, later] as [Candidate, Candidate]] : [];
    });
}

/** Name of a pair in the `conflicts` of `buildQueue`. */
export function pairKey(earlier: Pick<Candidate, 'session_id'>, later: Pick<Candidate, 'session_id'>): string {
  return `${earlier.session_id} ${later.session_id}`;
}

/**
 * The queue (E-158…E-161): every candidate in order, ready or with its blockers. A later one is held back by every
 * earlier mergeable one that `conflicts` names it with.
 */
export function buildQueue(
  candidates: readonly Candidate[],
  conflicts: ReadonlyMap<string, PairConflict>,
): MergeQueueEntry[] {
  const mergeable: Candidate[] = [];
  let position = 0;
  return orderCandidates(candidates).map((candidate) => {
    const own = selfBlockers(candidate);
    const blocked_by = own.length > 0 ? own : branchBlockers(candidate, mergeable, conflicts);
    if (own.length === 0) mergeable.push(candidate);
    const ready = blocked_by.length === 0;
    if (ready) position += 1;
    const { session_id, task, project, task_group, branch, base_branch, state, worktree_health, dirty } = candidate;
    return {
      ...{ session_id, task, project, task_group, branch, base_branch, state, worktree_health, dirty },
      queue_position: ready ? position : null,
      ready_to_merge: ready,
      blocked_by,
      suggested_action: suggest(position, own, blocked_by),
    };
  });
}

/** E-161. */
function suggest(position: number, own: readonly MergeQueueBlocker[], all: readonly MergeQueueBlocker[]): string {
  if (all.length === 0) return `merge in queue order #${position}`;
  return own[0]?.summary ?? `merge after ${all.map((blocker) => blocker.session_id).join(', ')}`;
}

/** E-160, and before its list what could not be read, after it what the queue itself does not want. */
function selfBlockers(candidate: Candidate): MergeQueueBlocker[] {
  const { session_id, branch, state, base_conflicts, base_preview, dirty_preview } = candidate;
  const because = (summary: string, more: Partial<MergeQueueBlocker> = {}): MergeQueueBlocker => ({
    ...{ session_id, branch, state, conflicts: [], summary },
    ...{ conflicting_patch_preview: null, blocker_patch_preview: null },
    ...more,
  });
  const found: MergeQueueBlocker[] = [];
  if (!isTerminal(state)) found.push(because(`session is still ${stateLabel(state)}`));
  if (candidate.error !== null) return [...found, because(candidate.error)];
  if (candidate.worktree_health === 'conflicted') {
    found.push(because(candidate.base_summary, { conflicts: base_conflicts, conflicting_patch_preview: base_preview }));
  }
  if (candidate.dirty)
    found.push(because('worktree has uncommitted changes', { conflicting_patch_preview: dirty_preview }));
  if (candidate.held !== null) found.push(because(candidate.held));
  return found;
}

function stateLabel(state: SessionState): string {
  return state.charAt(0).toUpperCase() + state.slice(1);
}

function branchBlockers(
  later: Candidate,
  mergeable: readonly Candidate[],
  conflicts: ReadonlyMap<string, PairConflict>,
): MergeQueueBlocker[] {
  return mergeable.flatMap((earlier) => {
    const found = conflicts.get(pairKey(earlier, later));
    if (found === undefined) return [];
    return {
      ...{ session_id: earlier.session_id, branch: earlier.branch, state: earlier.state, conflicts: found.conflicts },
      summary: `merge after ${earlier.session_id} to avoid branch conflicts`,
      conflicting_patch_preview: found.later_preview,
      blocker_patch_preview: found.earlier_preview,
    };
  });
}

export type QueueClass = 'ready' | 'active' | 'dirty' | 'conflicted' | 'blocked';

/** In which list of the result an entry ends (E-165). */
export function classify(entry: MergeQueueEntry): QueueClass {
  if (entry.ready_to_merge) return 'ready';
  if (!isTerminal(entry.state)) return 'active';
  if (entry.dirty) return 'dirty';
  return entry.worktree_health === 'conflicted' ? 'conflicted' : 'blocked';
}

/** In a single pass conflicts are looked at before changes that are not committed (E-157). */
export function classifyOnce(entry: MergeQueueEntry): QueueClass {
  const found = classify(entry);
  return found === 'dirty' && entry.worktree_health === 'conflicted' ? 'conflicted' : found;
}

/** A rebase may help: conflicts with the base are all that stands in its way, and nothing would be lost (E-164). */
export function canAutoRebase(entry: MergeQueueEntry): boolean {
  return (
    classify(entry) === 'conflicted' &&
    !entry.dirty &&
    entry.blocked_by.length === 1 &&
    entry.blocked_by.every((blocker) => blocker.session_id === entry.session_id)
  );
}
