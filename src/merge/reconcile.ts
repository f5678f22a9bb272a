import { branchHead, isAncestor } from '../git/branch.ts';
import { missingLines } from '../git/merge-commit.ts';
import { AppError } from '../model/error.ts';
import type { MergeRow } from '../model/merge.ts';
import { openMerges, settleFailed, settleMerged } from '../store/merge.ts';
import { getSession } from '../store/session.ts';
import { reconcileRebase } from './reconcile-rebase.ts';
import { outcomeOf, type Run } from './run.ts';
import { tidyUp } from './tidy-up.ts';
import { sweepTrial } from './trial.ts';

/**
 * Ends what an earlier merge into this target left under way when it died: the target is locked, so nobody is at it. An
 * attempt whose commit is in the target took place and is settled as merged, with all that belongs to it; any other one
 * moved nothing and is `interrupted`. Rebases are finished or taken back. Trials are taken away, their processes first.
 */
export async function reconcile(run: Run): Promise<void> {
  const { deps, repo_root, target } = run;
  await sweepTrial(run);
  const open = (await openMerges(deps.store, repo_root)).filter((row) => row.target === target);
  if (open.length === 0) return;
  const head = await branchHead(repo_root, target);
  for (const row of open) {
    if (row.reason === 'rebase') {
      await reconcileRebase(run, row);
      continue;
    }
    const commit = head === null ? null : await arrivedAs(repo_root, row, head);
    if (commit === null) await settleInterrupted(run, row);
    else await settleArrived(run, row, commit);
  }
}

/** The commit of the target that has the work; null when it has not. */
async function arrivedAs(repo_root: string, row: MergeRow, head: string): Promise<string | null> {
  if (row.merged_commit !== null && (await isIn(repo_root, row.merged_commit, head))) return row.merged_commit;
  return (await isIn(repo_root, row.head, head)) ? head : null;
}

async function isIn(repo_root: string, commit: string, head: string): Promise<boolean> {
  try {
    return await isAncestor(repo_root, commit, head);
  } catch (error) {
    // Its objects were never synced, or are collected: it went nowhere.
    if (error instanceof AppError && error.code === 'commit_not_found') return false;
    throw error;
  }
}

async function settleInterrupted({ deps }: Run, row: MergeRow): Promise<void> {
  const attempt = { seq: row.seq, outcome: 'failed' as const, reason: 'interrupted', output: null, mail: null };
  await settleFailed(deps.store, { attempts: [attempt], now: deps.clock.now() });
}

async function settleArrived(run: Run, row: MergeRow, commit: string): Promise<void> {
  const { deps, repo_root, target } = run;
  const isOwn = commit === row.merged_commit;
  const { lines, truncated } = isOwn
    ? await missingLines({ repo_root, ours: row.base_head, theirs: row.head, merged: commit })
    : { lines: [], truncated: false };
  const missing_json = lines.length > 0 ? JSON.stringify(lines) : null;
  const outcome = isOwn ? ('merged' as const) : ('up_to_date' as const);
  const attempts = [{ seq: row.seq, outcome, merged_commit: commit, missing_json }];
  await settleMerged(deps.store, { attempts, by: run.by, now: deps.clock.now() });
  const session = await getSession(deps.store, row.session_id);
  if (session === null) return;
  const path = session.worktree_path;
  const tidied = run.is_clean && path !== null ? await tidyUp(deps, { row: session, path, target }) : {};
  const more = { merged_commit: commit, missing: lines, missing_truncated: truncated, ...tidied };
  run.outcomes.push(outcomeOf({ row: session, target, head: row.head }, outcome, more));
}
