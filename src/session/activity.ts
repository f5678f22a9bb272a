import { changedPaths, dirtyChanges, type PathChange } from '../git/patch.ts';
import { resolveCommit } from '../git/repository.ts';
import { AppError } from '../model/error.ts';
import type { FileAction } from '../model/incident.ts';
import type { SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import { recordTurnChanges } from '../store/activity.ts';
import { changedAt } from '../sys/changed-at.ts';
import type { Deps } from './deps.ts';

/** More files than a person or an agent changes in a turn; a build that forgot its .gitignore may. */
const MAX_CHANGES = 2_000;
/** Differences that are looked at for them. */
const MAX_LOOKS = 10_000;

/**
 * Records what the turn changed beyond what its tools told (a shell writes files, too): of all that differs from the base,
 * committed or not, the files that changed while the turn ran. Only in a worktree of the session's own: in a shared checkout
 * nobody can say whose change it is, so there the tools alone speak. A worktree that git cannot read now tells nothing, and
 * keeps nobody from settling the turn.
 */
export async function noteTurnChanges(deps: Deps, session: SessionRow, turn: TurnRow): Promise<void> {
  const { id: session_id, repo_root, worktree_path, base_commit } = session;
  const now = deps.clock.now();
  const changes = worktree_path === null ? [] : await changesOf({ worktree_path, base_commit }, turn, now);
  await recordTurnChanges(deps.store, { session_id, turn: turn.turn, repo_root }, changes);
}

interface Change {
  path: string;
  action: FileAction;
  at: number;
}

async function changesOf(
  of: { worktree_path: string; base_commit: string | null },
  turn: TurnRow,
  now: number,
): Promise<Change[]> {
  const found = new Map<string, Change>();
  const from = turn.started_at;
  for (const { path, action, previous } of (await differences(of)).slice(0, MAX_LOOKS)) {
    const at = changedAt(`${of.worktree_path}/${path}`);
    // What is gone has no time of its own; the store knows whether it was gone before.
    if (action === 'delete' && at === null) found.set(path, { path, action, at: now });
    else if (at !== null && at >= from) found.set(path, { path, action, at: Math.min(Math.floor(at), now) });
    if (previous !== undefined && found.has(path) && changedAt(`${of.worktree_path}/${previous}`) === null)
      found.set(previous, { path: previous, action: 'delete', at: now });
  }
  return [...found.values()].slice(0, MAX_CHANGES);
}

/** Committed since the base and not committed; of a path in both the second, which is what lies there now. */
async function differences(of: { worktree_path: string; base_commit: string | null }): Promise<PathChange[]> {
  const root = of.worktree_path;
  try {
    const [committed, dirty] = await Promise.all([committedIn(root, of.base_commit), dirtyChanges(root)]);
    return [...committed, ...dirty];
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return [];
  }
}

async function committedIn(root: string, from: string | null): Promise<PathChange[]> {
  const to = from === null ? null : await resolveCommit(root, 'HEAD');
  if (from === null || to === null || from === to) return [];
  return changedPaths({ repo_root: root, from, to, since_merge_base: true });
}
