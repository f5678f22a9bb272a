import { commitMerge, type MissingLine, missingLines } from '../git/merge-commit.ts';
import { firstWrong } from '../git/merge-shape.ts';
import { predictMerge } from '../git/merge-tree.ts';
import { AppError } from '../model/error.ts';
import { type Claimed, messageFor, type Piece, shapeOf } from './piece.ts';
import { plainStack } from './plain-stack.ts';
import { sideBySide } from './side-by-side.ts';

const LANES = 4;

export interface Dropped {
  claim: Claimed;
  outcome: 'conflict' | 'failed';
  /** It is only in the way of an entry before it in this stack. */
  is_neighbour: boolean;
  conflicts: string[];
  reason: string;
}

export interface Stack {
  pieces: Piece[];
  dropped: Dropped[];
}

/**
 * Merge commits for the claims, each on top of the one before, the first on `from`. No ref moves and no checkout is
 * touched. What cannot be merged is left out and said. Throws `unavailable` when the machine is at fault (`disk_full`).
 */
export async function buildStack(repo_root: string, from: string, claims: readonly Claimed[]): Promise<Stack> {
  const stack: Stack = { pieces: [], dropped: [] };
  for (let at = 0; at < claims.length; ) {
    const ours = stack.pieces.at(-1)?.commit ?? from;
    const plain = await plainStack(repo_root, ours, claims.slice(at));
    stack.pieces.push(...plain);
    at += plain.length;
    const next = claims[at];
    if (plain.length > 0 || next === undefined) continue;
    await stackOne(stack, { repo_root, from, ours, claim: next });
    at += 1;
  }
  return stack;
}

async function stackOne(
  stack: Stack,
  { repo_root, from, ours, claim }: { repo_root: string; from: string; ours: string; claim: Claimed },
): Promise<void> {
  const drop = (outcome: Dropped['outcome'], reason: string, conflicts: string[] = []) =>
    stack.dropped.push({ claim, outcome, is_neighbour: ours !== from, conflicts, reason });
  try {
    const merge = await commitMerge({ repo_root, ours, theirs: claim.head, message: messageFor(claim) });
    if (merge.outcome === 'conflict') {
      const paths = merge.prediction.conflicts.map(({ path }) => path);
      drop('conflict', `conflicts in ${paths.join(', ')}`, paths);
    } else if (merge.outcome === 'up_to_date') {
      stack.pieces.push({ claim, ours, commit: ours, tree: null, is_plain: true });
    } else {
      stack.pieces.push({ claim, ours, commit: merge.commit, tree: merge.tree, is_plain: false });
    }
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug' || error.kind === 'unavailable') throw error;
    drop('failed', error.message);
  }
}

/**
 * Holds the merge commits against git: each has exactly its two parents, and the tree that git's merge of these two gives
 * when it is asked again. Throws `merge_differs` (70) for the first that has not; the target must not move then.
 */
export async function verifyStack(repo_root: string, pieces: readonly Piece[]): Promise<void> {
  const merged = pieces.filter(({ tree }) => tree !== null);
  if (merged.length === 0) return;
  const wrong = merged[await firstWrong(repo_root, merged.map(shapeOf))];
  if (wrong !== undefined) throw differs(wrong);
  // Plain ones were written without asking git, and asked about since.
  const asked = merged.filter(({ is_plain }) => !is_plain);
  await sideBySide(asked, LANES, async (piece) => {
    const { tree } = await predictMerge(repo_root, piece.ours, piece.claim.head);
    if (tree !== piece.tree) throw differs(piece);
  });
}

function differs({ claim, ours, commit, tree }: Piece): AppError {
  const { row, target } = claim.known;
  return new AppError('bug', 'merge_differs', `the merge of ${row.name} into ${target} is not what git makes of it`, {
    hint: 'Please report it. Nothing was moved.',
    preserved: `${target}, the branch and its worktree`,
    data: { session_id: row.id, commit, expected: `${tree} ${ours} ${claim.head}` },
  });
}

/** What each merge lost of its sides, in the order of the pieces. */
export async function missingOf(
  repo_root: string,
  pieces: readonly Piece[],
): Promise<{ lines: MissingLine[]; truncated: boolean }[]> {
  return sideBySide(pieces, LANES, async ({ claim, ours, commit, is_plain }) =>
    is_plain ? { lines: [], truncated: false } : missingLines({ repo_root, ours, theirs: claim.head, merged: commit }),
  );
}
