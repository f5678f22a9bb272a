import { isAncestor } from '../git/branch.ts';
import { checkoutOf } from '../git/common-dir.ts';
import { operationUnderWay } from '../git/operation.ts';
import { rebaseOnto } from '../git/rebase.ts';
import { gitOutput } from '../git/run.ts';
import { AppError } from '../model/error.ts';
import type { MergeRow } from '../model/merge.ts';
import type { SessionRow } from '../model/session.ts';
import { claimMerges, dropClaims, settleFailed, settleRebased } from '../store/merge.ts';
import { processesInside } from '../sys/inside.ts';
import type { Known } from './facts.ts';
import { outcomeOf, passOver, type Run } from './run.ts';

/**
 * Rebases the branch of an ended session onto the target (E-154, E-162…E-164): claim, git, settle. After a conflict the
 * worktree is as it was and the attempt is kept, so that it is not tried again on the same two commits. `up_to_date` when it
 * stands on the target already. What came of it is in `run.outcomes`, too.
 * Errors: `refused` / `session_claimed`, `worktree_in_use`; those of `rebaseOnto`.
 */
export async function rebaseEntry(
  run: Run,
  known: Known & { head: string },
  target_head: string,
): Promise<'rebased' | 'up_to_date' | 'conflict'> {
  const { deps, repo_root, target } = run;
  const { row, path, head } = known;
  if (await isAncestor(repo_root, target_head, head)) return 'up_to_date';
  refuseUsed(row, path);
  const claims = [{ session_id: row.id, branch: known.candidate.branch, head }];
  const shared = { repo_root, target, base_head: target_head, now: deps.clock.now() };
  const [claim] = await claimMerges(deps.store, { ...shared, claims, reason: 'rebase' });
  if (claim === undefined) throw claimed(row);
  try {
    const done = await rebaseOnto({ path, onto: target_head, clock: deps.clock });
    if (done.outcome === 'conflict') {
      await settleConflict(run, known, claim, `git rebase failed: ${firstLines(done.message)}`);
      return 'conflict';
    }
    const settled = { seq: claim.seq, session_id: row.id, base_commit: target_head, target, by: run.by };
    await settleRebased(deps.store, { ...settled, now: deps.clock.now() });
    run.outcomes.push(outcomeOf(known, 'rebased'));
    return 'rebased';
  } finally {
    await dropClaims(deps.store, [claim.seq]);
  }
}

function refuseUsed(row: SessionRow, path: string): void {
  const inside = processesInside(path);
  if (inside.length === 0) return;
  throw new AppError('refused', 'worktree_in_use', `process ${inside.slice(0, 3).join(', ')} works in ${path}`, {
    hint: 'Leave the directory, or end it, and try again.',
    unsafe_condition: 'files would change under a process that works with them',
    would_change: `the commits of ${row.branch} and the files of ${path}`,
    preserved: 'branch and worktree are untouched',
    data: { path, pids: inside },
  });
}

function claimed(row: SessionRow): AppError {
  return new AppError('refused', 'session_claimed', `${row.name} lives again, or another merge of it is under way`, {
    hint: 'Look again in a moment.',
    preserved: 'branch and worktree are untouched',
    recovery_commands: [`drover show ${row.id}`],
  });
}

const MAX_LINES = 5;

function firstLines(message: string): string {
  const lines = message.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(0, MAX_LINES).join('; ') || 'conflicts';
}

async function settleConflict(run: Run, known: Known, claim: MergeRow, reason: string): Promise<void> {
  const attempt = { seq: claim.seq, outcome: 'conflict' as const, reason, output: null, mail: null };
  await settleFailed(run.deps.store, { attempts: [attempt], now: run.deps.clock.now() });
  passOver(run, known, 'conflict', reason, claim.base_head);
  run.outcomes.push(outcomeOf(known, 'conflict', { reason, conflicts: known.candidate.base_conflicts }));
}

/**
 * Takes back a rebase whose process was killed in the middle of it: the claim says that it was ours, and nobody else can
 * have begun one in an ended session's clean worktree. Does nothing when none is under way.
 */
export async function undoRebase(path: string): Promise<void> {
  const checkout = checkoutOf(path);
  if (checkout?.root !== path || operationUnderWay(checkout.git_dir) !== 'rebase') return;
  await gitOutput(`take back the rebase in ${path}`, ['rebase', '--abort'], { cwd: path });
}
