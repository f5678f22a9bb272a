import { AppError } from '../model/error.ts';
import { quoted } from '../model/shell.ts';
import type { Tx } from './store.ts';

/**
 * Nobody starts in a worktree whose branch is being written anew, or was when that was cut off and nobody has looked since.
 * Throws `rebase_under_way` (3).
 */
export function refuseWhileRebased(tx: Tx, session_id: string, worktree_path: string | null): void {
  const claim = tx.get<{ name: string; branch: string; target: string }>(
    `SELECT s.name, m.branch, m.target FROM merges AS m JOIN sessions AS s ON s.id = m.session_id
     WHERE m.ended_at IS NULL AND m.reason = 'rebase'
       AND m.session_id IN (:session_id, (SELECT session_id FROM worktrees WHERE path = :worktree_path)) LIMIT 1`,
    { session_id, worktree_path },
  );
  if (claim === null) return;
  const { name, branch, target } = claim;
  throw new AppError('refused', 'rebase_under_way', `the branch ${branch} is being rebased onto ${target}`, {
    hint: `Try again when it is done. If that was cut off, the next rebase or merge into ${target} finishes it or takes it back.`,
    unsafe_condition: 'its files and commits change under whoever works with them',
    preserved: 'nothing was changed',
    recovery_commands: [`drover rebase ${quoted(name)} --into ${quoted(target)}`],
  });
}
