import { branchHead, isAncestor } from '../git/branch.ts';
import { dropKeptHead, keepHead } from '../git/kept-head.ts';
import { rebaseOnto } from '../git/rebase.ts';
import { AppError } from '../model/error.ts';
import type { MergeRow } from '../model/merge.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import { claimMerges, dropClaims, settleFailed, settleRebased } from '../store/merge.ts';
import { isDirectory } from '../sys/directory.ts';
import { processesInside } from '../sys/inside.ts';
import type { Known } from './facts.ts';
import { outcomeOf, passOver, type Run } from './run.ts';

/**
 * Rebases the branch of an ended session onto the target (E-154, E-162…E-164): claim, git, settle. After a conflict the
 * worktree is as it was and the attempt is kept, so that it is not tried again on the same two commits. `up_to_date` when it
 * stands on the target already. What came of it is in `run.outcomes`, too. Until it is settled the old head has a ref.
 * Errors: `refused` / `session_claimed`, `worktree_gone`, `worktree_in_use`; those of `rebaseOnto`, `keepHead`.
 */
export async function rebaseEntry(
  run: Run,
  known: Known & { head: string },
  target_head: string,
): Promise<'rebased' | 'up_to_date' | 'conflict'> {
  const { deps, repo_root, target } = run;
  const { row, path, head } = known;
  if (await isAncestor(repo_root, target_head, head)) return 'up_to_date';
  refuseGone(row, path);
  refuseUsed(row, path);
  const claims = [{ session_id: row.id, branch: known.candidate.branch, head }];
  const shared = { repo_root, target, base_head: target_head, now: deps.clock.now() };
  const [claim] = await claimMerges(deps.store, { ...shared, claims, reason: 'rebase' });
  if (claim === undefined) throw claimed(row);
  const kept = { repo_root, id: row.id, clock: deps.clock };
  let isOver = true;
  try {
    await keepHead({ ...kept, head });
    const done = await rebaseOnto({ path, onto: target_head, clock: deps.clock });
    // Judged, or taken back.
    await dropKeptHead(kept);
    if (done.outcome === 'conflict') {
      await settleConflict(run, known, claim, `git rebase failed: ${firstLines(done.message)}`);
      return 'conflict';
    }
    const settled = { seq: claim.seq, session_id: row.id, base_commit: target_head, target, by: run.by };
    await settleRebased(deps.store, { ...settled, now: deps.clock.now() });
    run.outcomes.push(outcomeOf(known, 'rebased'));
    return 'rebased';
  } catch (error) {
    // What could not be taken back is tried again by the next one (`reconcile`); until then nobody works on it.
    isOver = (await branchHead(repo_root, claim.branch)) === head && !hasCode(error, 'rebase_not_undone');
    if (isOver) await dropKeptHead(kept);
    throw error;
  } finally {
    if (isOver) await dropClaims(deps.store, [claim.seq]);
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof AppError && error.code === code;
}

/** Somebody deleted the directory: the branch can be merged, but there is no place to rebase it in. */
function refuseGone({ name, repo_root, branch }: SessionRow, path: string): void {
  if (isDirectory(path)) return;
  const git = `git -C ${quoted(repo_root)} worktree`;
  throw new AppError('refused', 'worktree_gone', `the worktree of ${name} is gone: ${path}`, {
    hint: 'Its branch is there; give it a worktree again.',
    unsafe_condition: 'there is no directory to rebase the branch in',
    preserved: 'branch and target are untouched',
    recovery_commands: [
      `${git} prune`,
      `${git} add ${quoted(path)} ${quoted(branch ?? '')}`,
      `drover rebase ${quoted(name)}`,
    ],
    data: { path, branch },
  });
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
