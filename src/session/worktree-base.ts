import { branchHead, isAncestor } from '../git/branch.ts';
import { resolveCommit } from '../git/repository.ts';
import type { WorktreeRow } from '../model/merge.ts';
import type { SessionRow } from '../model/session.ts';
import { threadHead } from '../store/thread.ts';
import { moveBase } from '../store/worktree.ts';
import type { Deps } from './deps.ts';

/** A session that asks for a worktree. */
export type Wanting = SessionRow & { branch: string; base_ref: string };

/**
 * Where the worktree of a session starts that goes on with work whose branch is gone, because it was merged or is kept
 * elsewhere (CX-04): at the newest commit of the branch it is meant for, when that has the work, else at the work's last
 * commit. Its base moves there, and the session is told. Nothing changes for one that begins, or whose branch is there.
 */
export async function fromItsWork(
  deps: Deps,
  row: Wanting,
  slot: WorktreeRow,
): Promise<{ row: Wanting; slot: WorktreeRow }> {
  const isBegun = row.base_commit !== null || row.recovered_from !== null;
  const { repo_root, branch, base_branch: target } = row;
  if (!isBegun || (await branchHead(repo_root, branch)) !== null) return { row, slot };
  const head = await knownHead(deps, row);
  if (head === null || head === row.base_ref) return { row, slot };
  const newest = target === null ? null : await branchHead(repo_root, target);
  const isIn = newest !== null && (await isAncestor(repo_root, head, newest));
  const base = isIn ? newest : head;
  if (base === row.base_ref) return { row, slot };
  const where = isIn
    ? `is in ${target} (its last commit was ${head.slice(0, 12)}), and its branch was removed; your branch ${branch} starts at the newest commit of ${target}, which has it.`
    : `was kept elsewhere and its branch removed; your branch ${branch} starts at its last commit, ${head.slice(0, 12)}.`;
  const moved = await moveBase(deps.store, {
    ...{ session_id: row.id, path: slot.path, base, now: deps.clock.now() },
    ...{ subject: 'Where your branch starts', body: `The work done here so far ${where}` },
  });
  return moved === null ? { row, slot } : { row: { ...moved.row, branch, base_ref: base }, slot: moved.slot };
}

/** The last commit of the work, if the repository has it still. */
async function knownHead(deps: Deps, { repo_root, branch }: Wanting): Promise<string | null> {
  const head = await threadHead(deps.store, repo_root, branch);
  return head === null ? null : resolveCommit(repo_root, head);
}
