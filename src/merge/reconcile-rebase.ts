import { finishRebase } from '../git/finish-rebase.ts';
import { dropKeptHead, keptRef } from '../git/kept-head.ts';
import { rescue } from '../git/rescue.ts';
import { AppError } from '../model/error.ts';
import type { MergeRow } from '../model/merge.ts';
import type { SessionRow } from '../model/session.ts';
import type { FailedAttempt } from '../store/merge.ts';
import { settleFailed, settleRebased } from '../store/merge.ts';
import { getSession } from '../store/session.ts';
import { processesInside } from '../sys/inside.ts';
import { outcomeOf, type Run } from './run.ts';

/**
 * Ends a rebase that was cut off: what went through and lost nothing is settled as such, anything else is taken back. The
 * claim stays while somebody works in the worktree (git goes on when its drover is killed), and when it cannot be taken back.
 */
export async function reconcileRebase(run: Run, row: MergeRow): Promise<void> {
  const { deps, repo_root } = run;
  const session = await getSession(deps.store, row.session_id);
  // Whoever lives in its worktree by now goes on with it as it is.
  if (session?.worktree_path == null || session.ended_at === null) return settle(run, row, { reason: 'interrupted' });
  if (processesInside(session.worktree_path).length > 0) return;
  try {
    const { branch, head, base_head: onto } = row;
    const { worktree_path: path, id: session_id } = session;
    const { clock } = deps;
    const save = () => rescue({ path, session_id, clock });
    const found = await finishRebase({ repo_root, path, branch, head, onto, clock, save });
    if (found.now === 'rebased') return await settleFinished(run, row);
    if (!('message' in found)) return await settle(run, row, { reason: 'interrupted' });
    const reason = `git rebase failed: ${found.message.split('\n').slice(0, 5).join('; ')}`;
    if (found.now === 'conflict') return await settle(run, row, { outcome: 'conflict', reason });
    await settle(run, row, { reason, mail: lostMail(session, row, reason) });
    run.outcomes.push(outcomeOf({ row: session, target: run.target, head: row.head }, 'failed', { reason }));
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug' || error.kind === 'unavailable') throw error;
    const reason = `a rebase that was cut off could not be ended: ${error.message}`;
    run.outcomes.push(outcomeOf({ row: session, target: run.target, head: row.head }, 'failed', { reason }));
  }
}

async function settleFinished({ deps, repo_root, target, by }: Run, row: MergeRow): Promise<void> {
  const { seq, session_id, base_head: base_commit } = row;
  await dropKeptHead({ repo_root, id: session_id, clock: deps.clock });
  await settleRebased(deps.store, { seq, session_id, base_commit, target, by, now: deps.clock.now() });
}

/** Nothing was rebased. The old head is let go unless somebody has to look for it. */
async function settle(
  { deps, repo_root }: Run,
  { seq, session_id }: MergeRow,
  end: Pick<FailedAttempt, 'reason'> & Partial<FailedAttempt>,
): Promise<void> {
  if (!end.mail) await dropKeptHead({ repo_root, id: session_id, clock: deps.clock });
  const attempt = { seq, outcome: 'failed' as const, output: null, mail: null, ...end };
  await settleFailed(deps.store, { attempts: [attempt], now: deps.clock.now() });
}

function lostMail(session: SessionRow, { branch, target, head }: MergeRow, reason: string) {
  return {
    subject: `${branch} of ${session.name} may lack commits of its own`,
    body: [
      `A rebase of ${branch} onto ${target} was cut off, and the branch has been moved since by somebody else. ${reason}`,
      `Its old head ${head} is kept as ${keptRef(session.id)}; nothing was touched.`,
      `To compare: git diff ${branch}...${keptRef(session.id)}`,
    ].join('\n'),
  };
}
