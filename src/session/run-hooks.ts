import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { backoff } from '../model/settle.ts';
import { countAttempt } from '../store/attempt.ts';
import { getSession } from '../store/session.ts';
import type { Deps } from './deps.ts';
import { failSession } from './end.ts';
import { howItEnded, mustRunHook, runHook } from './hooks.ts';

/**
 * The hook before each turn of a session in a worktree of its own. It runs before the turn is claimed, so that its time
 * does not count as the harness's silence; a turn that cannot be claimed after all has it run again. A failure costs an
 * attempt: the session waits as after a crashed turn, and fails after as many. False: there is no turn now.
 */
export async function beforeRun(deps: Deps, session_id: string): Promise<boolean> {
  const row = await getSession(deps.store, session_id);
  if (row === null || row.worktree_path === null) return true;
  try {
    await mustRunHook(deps, 'before_run', row, row.worktree_path);
    return true;
  } catch (error) {
    if (!(error instanceof AppError) || (error.code !== 'hook_failed' && error.code !== 'repository_untrusted'))
      throw error;
    const { turn } = await deps.config_for(row.repo_root);
    const isOver = error.code === 'repository_untrusted' || row.attempt + 1 >= turn.max_attempts;
    if (isOver) await failSession(deps, row, `${error.code}: ${error.message}; ${error.details.hint}`);
    else await delay(deps, row, { ...turn, attempt: row.attempt });
    return false;
  }
}

async function delay(deps: Deps, row: SessionRow, facts: Parameters<typeof backoff>[0]): Promise<void> {
  const now = deps.clock.now();
  const next_turn_at = now + backoff(facts);
  await countAttempt(deps.store, { session_id: row.id, turn: row.turn, attempt: row.attempt, next_turn_at, now });
}

/**
 * The hook after each turn, when its processes are gone and before it is settled: whoever hears of the turn's end finds its
 * work done. A failure is logged and never stands in the way of the turn's end.
 */
export async function afterRun(deps: Deps, session: SessionRow, log: (line: string) => void): Promise<void> {
  if (session.worktree_path === null) return;
  try {
    const run = await runHook(deps, 'after_run', session, session.worktree_path);
    if (run !== null && !run.ok) log(`${session.name}: the hook after_run ${howItEnded(run)}`);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    log(`${session.name}: the hook after_run: ${error.code}: ${error.message}`);
  }
}
