import { branchesAhead } from '../git/ahead.ts';
import type { SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import { mergeCandidates, mergedCandidates } from '../store/merge.ts';

interface Place {
  repo_root: string;
  /** One target for all; null: each session's own. */
  into: string | null;
}

/** Sessions that have more to merge than was merged: the attempt that counts no more, by the session's id. */
export type Ahead = ReadonlyMap<string, number>;

/**
 * The merged sessions whose branch got commits afterwards: while their gate ran, say, or by a person. One call of git for
 * each target that somebody is merged into and has his worktree still. Asked once, before anything is merged: whoever gets
 * commits each time it is merged would be merged for ever.
 */
export async function aheadAgain(deps: Pick<Deps, 'store'>, { repo_root, into }: Place): Promise<Ahead> {
  const found = new Map<string, number>();
  const merged = await mergedCandidates(deps.store, repo_root, into);
  for (const [target, rows] of Map.groupBy(merged, (row) => row.merged_target)) {
    const heads = await branchesAhead(repo_root, target);
    for (const { id, branch, merged_head, merged_seq } of rows) {
      const head = heads.get(branch ?? '');
      if (head !== undefined && head !== merged_head) found.set(id, merged_seq);
    }
  }
  return found;
}

/** Whose work may go in as things are: what is not merged, and what is ahead again until that is merged as well. */
export async function candidatesFor(
  deps: Pick<Deps, 'store'>,
  { repo_root, into }: Place,
  ahead: Ahead,
): Promise<SessionRow[]> {
  const rows = await mergeCandidates(deps.store, repo_root, into);
  if (ahead.size === 0) return rows;
  const merged = await mergedCandidates(deps.store, repo_root, into);
  const again = merged.filter(({ id, merged_seq }) => ahead.get(id) === merged_seq);
  return [...rows, ...again.map(({ merged_seq: _seq, merged_head: _head, merged_target: _to, ...row }) => row)];
}
