import { branchHead } from '../git/branch.ts';
import { AppError } from '../model/error.ts';
import {
  buildQueue,
  type Candidate,
  type MergeQueueEntry,
  orderCandidates,
  type PairConflict,
  pairKey,
  pairsToCompare,
} from '../model/merge-queue.ts';
import type { SessionRow } from '../model/session.ts';
import { comparePair, factsOf, type Ground, type Known } from './facts.ts';
import { sideBySide } from './side-by-side.ts';

/** Calls of git under way at the same time. */
const LANES = 4;
/** Predictions of one look; what is beyond waits, because it may be in conflict. */
const MAX_PREDICTIONS = 2_000;

/** The queue of one target branch, and what it was built from. */
export interface Queue {
  target: string;
  target_head: string;
  entries: MergeQueueEntry[];
  known: ReadonlyMap<string, Known>;
}

/** What two heads do to each other does not change: asked once, however often the queue is built. */
export type Compared = Map<string, PairConflict | null>;

/**
 * Builds the queue of one target (E-158, E-166, CX-29): every session's facts, and predictions for those pairs that touch
 * the same paths. Nothing is written, no objects either.
 */
export async function lookAtQueue(rows: readonly SessionRow[], ground: Ground, compared: Compared): Promise<Queue> {
  const all = await sideBySide(rows, LANES, (row) => factsOf(row, ground));
  const known = new Map(all.map((each) => [each.row.id, each]));
  const candidates = all.map((each) => each.candidate);
  const pairs = pairsToCompare(orderCandidates(candidates));
  const conflicts = new Map<string, PairConflict>();
  await sideBySide(pairs, LANES, async ([earlier, later]) => {
    const found = await pairOf(ground.repo_root, known, earlier, later, compared);
    if (found !== null) conflicts.set(pairKey(earlier, later), found);
  });
  const { target, target_head } = ground;
  return { target, target_head, known, entries: buildQueue(candidates, conflicts) };
}

async function pairOf(
  repo_root: string,
  known: ReadonlyMap<string, Known>,
  earlier: Candidate,
  later: Candidate,
  compared: Compared,
): Promise<PairConflict | null> {
  const [first, second] = [known.get(earlier.session_id), known.get(later.session_id)];
  if (first === undefined || second === undefined) return null;
  const key = `${first.head} ${second.head}`;
  const before = compared.get(key);
  if (before !== undefined) return before;
  if (compared.size >= MAX_PREDICTIONS) return unknownPair(earlier, later);
  let found: PairConflict | null;
  try {
    found = await comparePair(repo_root, first, second);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    found = unknownPair(earlier, later);
  }
  compared.set(key, found);
  return found;
}

/** Nobody knows what the two would do to each other: the later one waits until the earlier one is in. */
function unknownPair(earlier: Candidate, later: Candidate): PairConflict {
  const shared = new Set(earlier.paths);
  const conflicts = later.paths.filter((path) => shared.has(path));
  return { conflicts, earlier_preview: null, later_preview: null };
}

/** Where the target is. Throws `target_not_found` (3). */
export async function targetHead(repo_root: string, target: string): Promise<string> {
  const head = await branchHead(repo_root, target);
  if (head !== null) return head;
  throw new AppError('refused', 'target_not_found', `${repo_root} has no branch ${JSON.stringify(target)}`, {
    hint: 'Name the branch to merge into with --into; remote branches and tags cannot be merged into.',
    preserved: 'nothing was changed',
  });
}
