import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import { getSession } from '../store/session.ts';
import { endedOwners } from '../store/worktree.ts';
import { isDirectory } from '../sys/directory.ts';
import type { Deps } from './deps.ts';
import { judgeWork, judgeWorktree, removeWorktree } from './worktree-clean.ts';

/**
 * Before sessions are stopped together with their worktrees (CX-08): refused while one of these holds work that is nowhere
 * else. Throws `worktree_dirty` (3); nothing was stopped then.
 */
export async function refuseWork(rows: readonly SessionRow[]): Promise<void> {
  for (const row of rows) {
    const path = row.worktree_path;
    if (path === null || !isDirectory(path)) continue;
    const { kind, why } = await judgeWork(row, path);
    if (kind === 'free') continue;
    throw new AppError('refused', 'worktree_dirty', `The worktree of ${row.name} cannot go: ${why}`, {
      hint: 'Stop it without --clean-worktree; the worktree stays where it is.',
      unsafe_condition: `${path}: ${why}`,
      would_change: `${path} would be deleted`,
      preserved: 'nothing was stopped and nothing was removed',
      recovery_commands: [`drover stop ${quoted(row.name)}`],
    });
  }
}

/** Removes the worktree of a session that has just been stopped; null when there is none any more, else why it stays. */
export async function cleanStopped(deps: Deps, id: string): Promise<string | null> {
  const row = await getSession(deps.store, id);
  const path = row?.worktree_path ?? null;
  if (row === null || path === null) return null;
  const owned = { row, path, ids: [id, ...(await endedOwners(deps.store, path))] };
  const verdict = await judgeWorktree(deps, owned);
  if (verdict.why !== null) return verdict.why;
  const result = await removeWorktree(deps, owned, verdict);
  return result.removed ? null : result.why;
}
