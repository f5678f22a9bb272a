import { branchHead } from '../git/branch.ts';
import { AppError } from '../model/error.ts';
import { claimMerges, dropClaims, planMerges, settleFailed, settleMerged } from '../store/merge.ts';
import { advanceTarget } from './advance.ts';
import { targetHead } from './build.ts';
import type { Known } from './facts.ts';
import type { Claimed, Piece } from './piece.ts';
import { mailOfRed, reasonOfRed } from './red.ts';
import { outcomeOf, passOver, type Run } from './run.ts';
import { sideBySide } from './side-by-side.ts';
import { buildStack, type Dropped, missingOf, verifyStack } from './stack.ts';
import { tidyUp } from './tidy-up.ts';
import { firstRed, tryCommit } from './trial.ts';

/** How often a batch is built anew because somebody else has moved the target. */
const MAX_TRIES = 5;
const LANES = 4;

/**
 * Tries entries together (E-153, I21): claim, merge commits, gates on the result, and only then the target moves, by
 * compare-and-swap. Red: the first that makes it red is held, what was green before it goes in, what comes after it is
 * tried again without it. Everything is in `run.outcomes`; returns how many went in.
 * Throws what concerns the whole target (`target_checkout_dirty`, `interrupted`, `disk_full`, …); attempts that were under
 * way are then as if they had not been made.
 */
export async function mergeBatch(run: Run, entries: readonly Known[]): Promise<number> {
  const { deps, repo_root, target } = run;
  let from = await targetHead(repo_root, target);
  let pending = await claim(run, entries, from);
  let merged = 0;
  try {
    for (let tries = 1; pending.length > 0; ) {
      const round = await mergeRound(run, from, pending);
      if (round.merged === null) {
        if (tries >= MAX_TRIES) throw keepsMoving(run, tries);
        tries += 1;
        pending = round.rest;
        from = await targetHead(repo_root, target);
        continue;
      }
      merged += round.merged;
      from = round.head;
      pending = round.rest;
    }
    return merged;
  } finally {
    await dropClaims(
      deps.store,
      pending.map(({ seq }) => seq),
    );
  }
}

function keepsMoving({ target }: Run, tries: number): AppError {
  return new AppError('refused', 'target_moved', `${target} was moved by somebody else ${tries} times in a row`, {
    hint: 'Merge again when it is quieter.',
    preserved: `${target} as others left it, and every branch and worktree`,
  });
}

/** Somebody has replaced or deleted its file (O-45): another merge may be at it. */
function lockLost({ target, lock }: Run): AppError {
  return new AppError('refused', 'merge_lock_lost', `the lock of ${target} is gone from ${lock.path}`, {
    hint: 'Leave the files in DROVER_HOME/run alone, and merge again.',
    preserved: `${target}, and every branch and worktree`,
  });
}

async function claim(run: Run, entries: readonly Known[], base_head: string): Promise<Claimed[]> {
  const { deps, repo_root, target } = run;
  const claims = entries.flatMap((known) =>
    known.head === null ? [] : { session_id: known.row.id, branch: known.candidate.branch, head: known.head },
  );
  const rows = await claimMerges(deps.store, { claims, repo_root, target, base_head, now: deps.clock.now() });
  const seqs = new Map(rows.map((row) => [row.session_id, row.seq]));
  return entries.flatMap((known) => {
    const seq = seqs.get(known.row.id);
    if (seq !== undefined && known.head !== null) return { seq, known, head: known.head };
    passOver(run, known, 'failed', 'it lives again, or another merge of it is under way');
    return [];
  });
}

interface Round {
  /** How many went in; null: the target was moved by somebody else, nothing was. */
  merged: number | null;
  /** Where the target is now. */
  head: string;
  /** Still claimed. */
  rest: Claimed[];
}

/** One stack on top of the target: what is green of it goes in. */
async function mergeRound(run: Run, from: string, pending: readonly Claimed[]): Promise<Round> {
  // Of a target that is red by itself nothing can be learned about one entry from another.
  const tried = run.is_target_red ? pending.slice(0, 1) : pending;
  const { pieces, dropped } = await buildStack(run.repo_root, from, tried);
  const built = pieces.filter(({ tree }) => tree !== null);
  await verifyStack(run.repo_root, built);
  const red = await firstRed(run, built);
  const culprit = red === null ? null : (built[red.index] ?? null);
  const green = culprit === null ? pieces : pieces.slice(0, pieces.indexOf(culprit));
  const head = green.at(-1)?.commit ?? from;
  const missing = await missingOf(run.repo_root, green);
  if (head !== from && !(await moveTarget(run, from, head, green)))
    return { merged: null, head: from, rest: [...pending] };
  await settleGreen(run, green, missing);
  await settleDropped(run, from, dropped);
  const isHeld = new Set([...green, ...(culprit === null ? [] : [culprit])].map(({ claim }) => claim.seq));
  const isDropped = new Set(dropped.map((each) => each.claim.seq));
  if (culprit !== null && red !== null) await settleRed(run, culprit, red.verdict);
  const rest = pending.filter(({ seq }) => !isHeld.has(seq) && !isDropped.has(seq));
  return { merged: green.length, head, rest };
}

/** The plan first: whoever finds the attempts unfinished knows by it what the target was to become. */
async function moveTarget(run: Run, from: string, to: string, pieces: readonly Piece[]): Promise<boolean> {
  const plans = pieces.map(({ claim, ours, commit }) => ({ seq: claim.seq, base_head: ours, merged_commit: commit }));
  if (!run.lock.stillHeld()) throw lockLost(run);
  const open = await planMerges(run.deps.store, plans);
  if (open !== plans.length) throw new Error('an attempt was settled while its target was locked');
  let isMoved = false;
  try {
    isMoved = (await advanceTarget(run, from, to)) === 'advanced';
    return isMoved;
  } catch (error) {
    // Only a refusal is known to have left the target alone; after anything else the next merge looks (`reconcile`).
    const isRefused = error instanceof AppError && error.kind === 'refused';
    isMoved = !isRefused || (await branchHead(run.repo_root, run.target)) !== from;
    throw error;
  } finally {
    if (!isMoved)
      await planMerges(
        run.deps.store,
        plans.map((plan) => ({ ...plan, merged_commit: null })),
      );
  }
}

async function settleGreen(
  run: Run,
  green: readonly Piece[],
  missing: Awaited<ReturnType<typeof missingOf>>,
): Promise<void> {
  if (green.length === 0) return;
  const lost = (at: number) => missing[at] ?? { lines: [], truncated: false };
  const attempts = green.map(({ claim, commit, tree }, at) => ({
    seq: claim.seq,
    outcome: tree === null ? ('up_to_date' as const) : ('merged' as const),
    merged_commit: commit,
    missing_json: lost(at).lines.length > 0 ? JSON.stringify(lost(at).lines) : null,
  }));
  await settleMerged(run.deps.store, { attempts, by: run.by, now: run.deps.clock.now() });
  const tidied = await sideBySide(green, LANES, async ({ claim }) =>
    run.is_clean ? tidyUp(run.deps, claim.known) : { cleaned_worktree: false, kept: null },
  );
  for (const [at, { claim, commit, tree }] of green.entries()) {
    run.outcomes.push(
      outcomeOf(claim.known, tree === null ? 'up_to_date' : 'merged', {
        ...{ merged_commit: commit, ...tidied[at], missing: lost(at).lines, missing_truncated: lost(at).truncated },
      }),
    );
  }
}

async function settleDropped(run: Run, from: string, dropped: readonly Dropped[]): Promise<void> {
  // One that is in the way of its neighbour only will be looked at again, as one that conflicts with the target.
  const neighbours = dropped.filter((each) => each.outcome === 'conflict' && each.is_neighbour);
  await dropClaims(
    run.deps.store,
    neighbours.map((each) => each.claim.seq),
  );
  const failed = dropped.filter((each) => !neighbours.includes(each));
  if (failed.length === 0) return;
  const attempts = failed.map(({ claim, outcome, reason }) => ({
    seq: claim.seq,
    outcome,
    reason,
    output: null,
    mail: null,
  }));
  await planMerges(
    run.deps.store,
    attempts.map(({ seq }) => ({ seq, base_head: from, merged_commit: null })),
  );
  await settleFailed(run.deps.store, { attempts, now: run.deps.clock.now() });
  for (const { claim, outcome, conflicts, reason } of failed) {
    passOver(run, claim.known, outcome, reason);
    run.outcomes.push(outcomeOf(claim.known, outcome, { conflicts, reason }));
  }
}

async function settleRed(run: Run, { claim, ours }: Piece, verdict: Parameters<typeof reasonOfRed>[0]): Promise<void> {
  const { known, seq } = claim;
  // Is it this branch at all? Asked once: the answer holds as long as the target is red by itself.
  run.is_target_red ||= (await tryCommit(run, ours)).verdict === 'red';
  const reason = reasonOfRed(verdict, run.is_target_red ? run.target : null);
  const mail = mailOfRed(known, reason, verdict.output);
  await planMerges(run.deps.store, [{ seq, base_head: ours, merged_commit: null }]);
  const attempts = [{ seq, outcome: 'gate' as const, reason, output: verdict.output, mail }];
  await settleFailed(run.deps.store, { attempts, now: run.deps.clock.now() });
  passOver(run, known, 'gate', `its gate failed (${reason})`);
  run.outcomes.push(outcomeOf(known, 'gate', { reason, output: verdict.output }));
}
