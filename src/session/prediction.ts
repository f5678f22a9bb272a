import { branchHead } from '../git/branch.ts';
import { type MergeConflict, predictMerge } from '../git/merge-tree.ts';
import { AppError } from '../model/error.ts';
import type { IncidentRow } from '../model/incident.ts';
import type { SessionRow } from '../model/session.ts';
import { setPrediction } from '../store/incident-list.ts';
import { getSession } from '../store/session.ts';
import type { Deps } from './deps.ts';

interface Side {
  session_id: string;
  branch: string;
  commit: string;
}

/** What merging the two branches of an incident would give as they are committed now; what is not committed is no part of it. */
export interface Prediction {
  ours: Side;
  theirs: Side;
  /** Null when git cannot say; `problem` says why. */
  is_clean: boolean | null;
  conflicts: MergeConflict[];
  messages: string;
  problem: string | null;
  predicted_at: number;
}

/** Null when there are no two branches to merge. Changes nothing, in the repository or the store. */
export async function predictIncident(
  deps: Pick<Deps, 'store' | 'clock'>,
  incident: Pick<IncidentRow, 'repo_root' | 'first_session_id' | 'second_session_id' | 'active_session_id'>,
): Promise<Prediction | null> {
  const { repo_root, first_session_id: first, second_session_id: second, active_session_id } = incident;
  const [one, other] = active_session_id === second ? [second, first] : [first, second];
  const predicted_at = deps.clock.now();
  const [ours, theirs] = [await sideOf(deps, repo_root, one), await sideOf(deps, repo_root, other)];
  if (ours === null || theirs === null) return null;
  const known = { ours, theirs, predicted_at };
  try {
    const { tree, conflicts, messages } = await predictMerge(repo_root, ours.commit, theirs.commit);
    return { ...known, is_clean: tree !== null, conflicts, messages, problem: null };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { ...known, is_clean: null, conflicts: [], messages: '', problem: error.message };
  }
}

async function sideOf(deps: Pick<Deps, 'store'>, repo_root: string, id: string): Promise<Side | null> {
  const session: SessionRow | null = await getSession(deps.store, id);
  if (session === null || session.branch === null) return null;
  try {
    const commit = await branchHead(repo_root, session.branch);
    return commit === null ? null : { session_id: id, branch: session.branch, commit };
  } catch (error) {
    // The repository may be gone by now.
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return null;
  }
}

/** Stores the prediction of new incidents; the branches of two sessions are merged once, however many files they share. */
export async function storePredictions(
  deps: Pick<Deps, 'store' | 'clock'>,
  incidents: readonly IncidentRow[],
): Promise<void> {
  const known = new Map<string, string | null>();
  for (const incident of incidents) {
    const pair = `${incident.repo_root}\0${incident.first_session_id}\0${incident.second_session_id}`;
    if (!known.has(pair)) {
      const prediction = await predictIncident(deps, incident);
      known.set(pair, prediction === null ? null : JSON.stringify(prediction));
    }
    const text = known.get(pair) ?? null;
    if (text !== null) await setPrediction(deps.store, incident.id, text);
  }
}
