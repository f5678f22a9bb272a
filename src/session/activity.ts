import { changedPaths, dirtyChanges, type PathChange } from '../git/patch.ts';
import { resolveCommit } from '../git/repository.ts';
import { sameAs } from '../git/same-as.ts';
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
 * Records what the turn changed beyond what its tools told (a shell writes files, too): of all that the branch has beyond
 * its target, committed or not, the files that changed while the turn ran. What came in by a merge of the target is nobody's
 * write here. Only in a worktree of the session's own: in a shared checkout
 * nobody can say whose change it is, so there the tools alone speak. A worktree that git cannot read now tells nothing, and
 * keeps nobody from settling the turn.
 */
export async function noteTurnChanges(deps: Deps, session: SessionRow, turn: TurnRow): Promise<void> {
  const { id: session_id, repo_root, worktree_path: root } = session;
  const now = deps.clock.now();
  const changes = root === null ? [] : await changesOf({ ...session, root }, turn, now);
  await recordTurnChanges(deps.store, { session_id, turn: turn.turn, repo_root }, changes);
}

interface Change {
  path: string;
  action: FileAction;
  at: number;
}

type Place = Pick<SessionRow, 'base_commit' | 'base_branch' | 'branch'> & { root: string };

/** A worktree that git cannot read now has no changes. */
async function changesOf(place: Place, turn: TurnRow, now: number): Promise<Change[]> {
  try {
    const target = await targetOf(place);
    const found = changedSince(place.root, await differences(place, target), { from: turn.started_at, now });
    return (await withoutTargets(place, target, found)).slice(0, MAX_CHANGES);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return [];
  }
}

/** Where the branch that its work is meant for is now; null: there is none (any more). */
async function targetOf({ root, base_branch, branch }: Place): Promise<string | null> {
  return base_branch === null || base_branch === branch ? null : resolveCommit(root, `refs/heads/${base_branch}`);
}

function changedSince(
  root: string,
  changes: readonly PathChange[],
  { from, now }: { from: number; now: number },
): Map<string, Change> {
  const found = new Map<string, Change>();
  for (const { path, action, previous } of changes.slice(0, MAX_LOOKS)) {
    const at = changedAt(`${root}/${path}`);
    // What is gone has no time of its own; the store knows whether it was gone before.
    if (action === 'delete' && at === null) found.set(path, { path, action, at: now });
    else if (at !== null && at >= from) found.set(path, { path, action, at: Math.min(Math.floor(at), now) });
    if (previous !== undefined && found.has(path) && changedAt(`${root}/${previous}`) === null)
      found.set(previous, { path: previous, action: 'delete', at: now });
  }
  return found;
}

/** Committed beyond the target and not committed; of a path in both the second, which is what lies there now. */
async function differences(place: Place, target: string | null): Promise<PathChange[]> {
  const { root } = place;
  const [committed, dirty] = await Promise.all([committedIn(place, target), dirtyChanges(root)]);
  return [...committed, ...dirty];
}

async function committedIn({ root, base_commit }: Place, target: string | null): Promise<PathChange[]> {
  const to = await resolveCommit(root, 'HEAD');
  if (to === null) return [];
  if (target !== null) {
    try {
      return await changedPaths({ repo_root: root, from: target, to, since_merge_base: true });
    } catch (error) {
      // The target was made anew: what is left to compare with is where the work began.
      if (!(error instanceof AppError) || error.code !== 'no_common_ancestor') throw error;
    }
  }
  if (base_commit === null || base_commit === to) return [];
  return changedPaths({ repo_root: root, from: base_commit, to, since_merge_base: true });
}

/** A file that is as the target has it, here or where it was fetched from, came from there: by a merge under way, say. */
async function withoutTargets(
  { root, base_branch }: Place,
  target: string | null,
  found: ReadonlyMap<string, Change>,
): Promise<Change[]> {
  let left = [...found.values()];
  if (target === null || left.length === 0) return left;
  const fetched = await resolveCommit(root, `${base_branch}@{upstream}`);
  for (const commit of new Set([target, fetched ?? target])) {
    const paths = left.map(({ path }) => path);
    const same = await sameAs(root, commit, paths);
    left = left.filter(({ path }) => !same.has(path));
  }
  return left;
}
