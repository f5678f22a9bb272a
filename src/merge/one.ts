import { isAncestor } from '../git/branch.ts';
import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import type { Deps } from '../session/deps.ts';
import { mergedInto } from '../store/merge.ts';
import { getSession } from '../store/session.ts';
import { checkTarget } from './advance.ts';
import { mergeBatch } from './attempt.ts';
import { targetHead } from './build.ts';
import { type Known, readFacts } from './facts.ts';
import { AT_ONCE, type Patience } from './lock.ts';
import { hasHead } from './process.ts';
import { rebaseEntry } from './rebase.ts';
import { type EntryOutcome, outcomeOf, type Run } from './run.ts';
import { refuseUntrusted, targetOf, type Wanted, withTarget } from './target.ts';

export interface OneRequest {
  row: SessionRow;
  /** null: the branch its work is meant for. */
  into: string | null;
  is_clean: boolean;
  /** Else it is refused at once while somebody merges into the target. */
  patience?: Patience;
  dry_run: boolean;
  by: string;
  signal: AbortSignal;
}

/**
 * Merges one session that a person (or an agent that may) named (E-152, E-153): any that has ended, completed or not, and
 * again if its gate was red before. With `dry_run` it is only looked at, and null comes back for "would be merged".
 * Throws `session_active`, `no_worktree`, `no_target`, `worktree_dirty` (3), `merge_conflict` (1), and what `withTarget`
 * and `mergeBatch` throw; before anything was touched.
 */
export async function mergeSession(deps: Deps, request: OneRequest): Promise<EntryOutcome | null> {
  const { row } = request;
  checkEnded(row, 'merge');
  const wanted = wantedOf(deps, request);
  if (request.dry_run) {
    refuseUntrusted(await deps.config_for(row.repo_root), row.repo_root);
    checkReady(await factsNow(wanted, row));
    return null;
  }
  return withTarget(wanted, async (run) => {
    const settled = run.outcomes.find(({ session_id }) => session_id === row.id);
    if (settled !== undefined) return settled;
    const now = (await getSession(deps.store, row.id)) ?? row;
    const met = await mergedMeanwhile(run, now);
    if (met !== null) return met;
    checkEnded(now, 'merge');
    const known = checkReady(await factsNow(run, now));
    await checkTarget(run);
    await mergeBatch(run, [known]);
    const outcome = run.outcomes.find(({ session_id }) => session_id === row.id);
    if (outcome !== undefined) return outcome;
    throw new AppError('refused', 'session_claimed', `${row.name} lives again, or another merge of it is under way`, {
      hint: 'Look again in a moment.',
      preserved: 'nothing was changed',
      recovery_commands: [`drover show ${row.id}`],
    });
  });
}

/** Rebases one ended session's branch onto the branch its work is meant for (E-154). Throws as `mergeSession` does. */
export async function rebaseSession(
  deps: Deps,
  request: Omit<OneRequest, 'is_clean' | 'dry_run'>,
): Promise<EntryOutcome & { already_up_to_date: boolean }> {
  const { row } = request;
  checkEnded(row, 'rebase');
  return withTarget(wantedOf(deps, { ...request, is_clean: false }), async (run) => {
    const now = (await getSession(deps.store, row.id)) ?? row;
    checkEnded(now, 'rebase');
    const known = await factsNow(run, now);
    if (!hasHead(known)) throw new Error('facts without a head');
    if (known.candidate.dirty) throw dirty(known);
    const done = await rebaseEntry(run, known, await targetHead(run.repo_root, run.target));
    if (done === 'conflict') throw rebaseFailed(run, known);
    return { ...outcomeOf(known, 'rebased'), already_up_to_date: done === 'up_to_date' };
  });
}

/** Whoever had the lock before may have merged it, and taken its worktree away: then there is nothing left to do. */
async function mergedMeanwhile(run: Run, row: SessionRow): Promise<EntryOutcome | null> {
  if (row.worktree_path !== null || row.ended_at === null) return null;
  const attempt = await mergedInto(run.deps.store, row.id, run.target);
  const commit = attempt?.merged_commit ?? null;
  // It may have been at work again since.
  if (attempt === null || commit === null || (attempt.ended_at ?? 0) < row.ended_at) return null;
  if (!(await isAncestor(run.repo_root, commit, await targetHead(run.repo_root, run.target)))) return null;
  const more = { merged_commit: commit, cleaned_worktree: true };
  return outcomeOf({ row, target: run.target, head: attempt.head }, 'up_to_date', more);
}

/** E-152, E-154. */
function checkEnded(row: SessionRow, verb: 'merge' | 'rebase'): void {
  if (row.ended_at === null) {
    // Waiting for one that is held would last for ever.
    const first = row.state === 'parked' ? 'resume' : 'wait';
    throw new AppError(
      'refused',
      'session_active',
      `Cannot ${verb} active session ${row.id} while it is ${row.state}`,
      {
        hint: row.state === 'parked' ? 'Let it go on to its end, or stop it.' : 'Wait for its end, or stop it.',
        unsafe_condition: 'it may commit to its branch at any moment',
        preserved: 'nothing was changed',
        recovery_commands: [`drover ${first} ${quoted(row.name)}`, `drover stop ${quoted(row.name)}`],
      },
    );
  }
  if (row.worktree_path !== null && row.branch !== null) return;
  const merged = row.merged_commit === null ? null : `Its work is merged, as ${row.merged_commit}.`;
  throw new AppError('refused', 'no_worktree', `Session ${row.id} has no attached worktree`, {
    hint:
      merged ??
      (row.branch === null
        ? 'It worked in the checkout itself.'
        : `Its worktree was removed, and its branch ${row.branch} if its commits were kept elsewhere; who recovers it starts from these.`),
    preserved: 'nothing was changed',
    ...(row.merged_commit === null && row.branch !== null
      ? { recovery_commands: [`drover recover ${quoted(row.name)}`] }
      : {}),
  });
}

function wantedOf(deps: Deps, request: Omit<OneRequest, 'dry_run'>): Wanted {
  const { row, into, is_clean, patience = AT_ONCE, by, signal } = request;
  return { deps, repo_root: row.repo_root, target: targetOf(row, into), by, is_clean, patience, signal };
}

async function factsNow({ repo_root, target }: Pick<Run, 'repo_root' | 'target'>, row: SessionRow): Promise<Known> {
  const target_head = await targetHead(repo_root, target);
  const open = { require_completed: false, ready: new Map(), failures: new Map(), passed_over: new Map() };
  return readFacts(row, { repo_root, target, target_head, ...open });
}

function checkReady(known: Known): Known {
  if (known.candidate.worktree_health === 'conflicted') throw conflict(known);
  if (known.candidate.dirty) throw dirty(known);
  return known;
}

function conflict({ row, target, candidate }: Known): AppError {
  const { base_conflicts: conflicts, base_summary, base_preview } = candidate;
  return new AppError('failed', 'merge_conflict', `${row.branch} of ${row.name} ${base_summary}`, {
    hint: `Rebase it, or let the session bring ${target} into its branch.`,
    preserved: `${target}, the branch and its worktree`,
    recovery_commands: [`drover rebase ${quoted(row.name)}`, goOn(row, `Merge ${target} into your branch.`)],
    data: { session_id: row.id, conflicts, preview: base_preview },
  });
}

function goOn(row: SessionRow, text: string): string {
  const verb = row.state === 'completed' || row.state === 'zombie' ? 'recover' : 'resume';
  return `drover ${verb} ${quoted(row.name)} --text ${quoted(text)}`;
}

function dirty({ row, path, candidate }: Known): AppError {
  return new AppError('refused', 'worktree_dirty', `the worktree of ${row.name} has uncommitted changes`, {
    hint: 'Commit or remove them, or let the session do it; what is not committed would not be merged.',
    unsafe_condition: candidate.dirty_preview ?? 'uncommitted changes',
    preserved: 'branch, worktree and target are untouched',
    recovery_commands: [`git -C ${quoted(path)} status`, goOn(row, 'Commit your work.')],
    data: { path },
  });
}

function rebaseFailed(run: Run, { row, candidate }: Known): AppError {
  const reason = run.outcomes.at(-1)?.reason ?? 'git rebase failed';
  return new AppError('failed', 'rebase_conflict', `${row.branch} of ${row.name}: ${reason}`, {
    hint: 'The branch is as it was; let the session do it.',
    preserved: 'branch and worktree are as they were',
    recovery_commands: [goOn(row, `Rebase your branch onto ${run.target}.`)],
    data: { session_id: row.id, conflicts: candidate.base_conflicts },
  });
}
