import { findRepository } from '../git/repository.ts';
import { addWorktree } from '../git/worktree.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import type { SessionRow } from '../model/session.ts';
import { attachWorktree } from '../store/turn.ts';
import type { Deps } from './deps.ts';
import { failSession } from './end.ts';

/** Longer than any checkout may take. */
const UNFINISHED_MS = 15 * 60_000;

/**
 * Makes the worktree of a queued session that asked for one (E-015, E-175). One that a crashed attempt left behind is
 * used as it is. True when the session can start; on failure the session is `failed` with the reason (E-016).
 */
export async function ensureWorktree(deps: Deps, row: SessionRow): Promise<boolean> {
  if (row.branch === null || row.base_ref === null || row.worktree_path !== null || row.state !== 'queued') return true;
  const config = await deps.config_for(row.repo_root);
  const path = homePaths.worktree(config.worktree.root ?? `${deps.home}/worktrees`, row.project, row.id);
  try {
    const existing = await findRepository(path);
    // A checkout that a crashed supervisor began may still be running: look again at the next tick.
    if (existing?.is_unfinished) {
      if (deps.clock.now() - row.created_at < UNFINISHED_MS) return false;
      throw new AppError('failed', 'worktree_unfinished', `the checkout in ${path} was never finished`, {
        hint: `Remove it with \`git worktree remove -f -f ${path}\` and resume the session.`,
      });
    }
    if (existing?.root !== path || existing.branch !== row.branch) {
      await addWorktree({
        repo_root: row.repo_root,
        path,
        branch: row.branch,
        base_commit: row.base_ref,
        clock: deps.clock,
      });
    }
    return await attachWorktree(deps.store, {
      session_id: row.id,
      worktree_path: path,
      working_dir: path,
      base_commit: row.base_ref,
      now: deps.clock.now(),
    });
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    await failSession(deps, row, `worktree_error: ${error.message}`);
    return false;
  }
}
