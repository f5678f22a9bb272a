import { archiveCommit } from '../git/archive.ts';
import { branchHead } from '../git/branch.ts';
import { changedLines } from '../git/diff-size.ts';
import type { SessionRow } from '../model/session.ts';
import type { Deps } from './deps.ts';

/**
 * Lines that a session's branch changes; what is not committed is not counted. Null without a branch of its own. Errors:
 * those of `branchHead` and `changedLines`.
 */
export async function diffSize(row: SessionRow): Promise<number | null> {
  const base = row.base_commit ?? row.base_ref;
  const head = row.branch === null ? null : await branchHead(row.repo_root, row.branch);
  return head === null || base === null ? null : changedLines(row.repo_root, base, head);
}

/**
 * Keeps what is on a session's branch under a ref of drover's; branch and worktree stay as well. Null when there is no
 * branch to keep. Errors: those of `branchHead` and `archiveCommit`.
 */
export async function archiveBranch({ clock }: Pick<Deps, 'clock'>, row: SessionRow): Promise<string | null> {
  const commit = row.branch === null ? null : await branchHead(row.repo_root, row.branch);
  if (commit === null) return null;
  return archiveCommit({ repo_root: row.repo_root, id: row.id, commit, clock });
}
