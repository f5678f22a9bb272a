import type { SessionRow } from '../model/session.ts';
import type { Store } from '../store/store.ts';
import { slotCounts, slotQueue } from '../store/worktree.ts';
import type { Deps } from './deps.ts';

/** A session in the queue for which there is no slot: its place in the line, from 1, and how the slots are taken. */
export interface WorktreeWait {
  position: number;
  max: number;
  held: number;
  held_by_ended: number;
}

type Facts = Pick<SessionRow, 'id' | 'state' | 'branch' | 'worktree_path' | 'repo_root'>;

/** Which of these sessions wait for a worktree, by id (CX-23). Settings are read only when one may. */
export async function worktreeWaits(
  store: Store,
  rows: readonly Facts[],
  config_for: Deps['config_for'],
): Promise<Map<string, WorktreeWait>> {
  const asking = rows.filter((row) => row.state === 'queued' && row.branch !== null && row.worktree_path === null);
  const waits = new Map<string, WorktreeWait>();
  if (asking.length === 0) return waits;
  const ids = new Set(asking.map((row) => row.id));
  const roots = new Set(asking.map((row) => row.repo_root));
  for (const { repo_root, held, held_by_ended } of await slotCounts(store)) {
    if (!roots.has(repo_root)) continue;
    const { max_worktrees: max } = await config_for(repo_root);
    if (held < max) continue;
    for (const [i, { id }] of (await slotQueue(store, repo_root)).entries())
      if (ids.has(id)) waits.set(id, { position: i + 1, max, held, held_by_ended });
  }
  return waits;
}
