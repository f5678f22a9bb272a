import type { SessionRow } from '../model/session.ts';
import type { WorktreeWait } from '../session/worktree-wait.ts';
import type { Store } from '../store/store.ts';
import { systemClock } from '../sys/clock.ts';
import type { Context } from './context.ts';

type Facts = Pick<SessionRow, 'id' | 'state' | 'branch' | 'worktree_path' | 'repo_root'>;

/** Which of these sessions wait for a worktree. Slots and settings are loaded only when one may. */
export async function waitsOf(
  { env }: Pick<Context, 'env'>,
  store: Store | null,
  rows: readonly Facts[],
): Promise<Map<string, WorktreeWait>> {
  const isAsking = (row: Facts) => row.state === 'queued' && row.branch !== null && row.worktree_path === null;
  if (store === null || !rows.some(isAsking)) return new Map();
  const [{ worktreeWaits }, { cachedConfig }] = await Promise.all([
    import('../session/worktree-wait.ts'),
    import('../session/config-cache.ts'),
  ]);
  return worktreeWaits(store, rows, cachedConfig({ clock: systemClock, env, log: () => undefined }).for);
}
