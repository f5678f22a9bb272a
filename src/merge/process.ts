import { AppError } from '../model/error.ts';
import { canAutoRebase } from '../model/merge-queue.ts';
import type { SessionRow } from '../model/session.ts';
import { lastFailures, readyCommits } from '../store/merge.ts';
import { getSession } from '../store/session.ts';
import { checkTarget } from './advance.ts';
import { mergeBatch } from './attempt.ts';
import { type Compared, lookAtQueue, type Queue, targetHead } from './build.ts';
import type { Known } from './facts.ts';
import { rebaseEntry } from './rebase.ts';
import { outcomeOf, type Processed, passOver, type Run } from './run.ts';

/** More rounds than any queue needs: each one merges, rebases or gives up at least one entry. */
const MAX_ROUNDS = 1_000;

/** Entries that go in together where no gate has to tell them apart. */
const MAX_UNGATED = 100;

export interface Selection {
  /** Sessions whose work goes into this target, as they are now. */
  rows: () => Promise<SessionRow[]>;
  require_completed: boolean;
  /** One look and one pass (E-157); else the loop of E-162. */
  is_single_pass: boolean;
}

/** Where everything stands before or between passes. Writes nothing. */
export async function lookNow(
  run: Pick<Run, 'deps' | 'repo_root' | 'target' | 'passed_over'>,
  selection: Omit<Selection, 'is_single_pass'>,
  compared: Compared,
): Promise<Queue> {
  const { deps, repo_root, target, passed_over } = run;
  const { require_completed } = selection;
  const [rows, failures, ready] = await Promise.all([
    selection.rows(),
    lastFailures(deps.store, repo_root),
    readyCommits(deps.store, repo_root, target),
  ]);
  const target_head = await targetHead(repo_root, target);
  const ground = { repo_root, target, target_head, require_completed, ready, failures, passed_over };
  return lookAtQueue(rows, ground, compared);
}

/**
 * Works the queue of one target off (E-155, E-162): merge all that are ready; if any went in, look again; else rebase
 * those that only conflict with the target, one by one; if that helped, look again; else that is all.
 */
export async function processTarget(run: Run, selection: Selection): Promise<Processed> {
  const compared: Compared = new Map();
  let queue = await lookNow(run, selection, compared);
  for (let round = 1; round <= MAX_ROUNDS; round += 1) {
    const hasMoved = await mergeReady(run, queue);
    if (selection.is_single_pass) {
      if (hasMoved) queue = await lookNow(run, selection, compared);
      break;
    }
    if (!hasMoved && !(await rebaseBlocked(run, selection, queue))) break;
    queue = await lookNow(run, selection, compared);
  }
  return { outcomes: run.outcomes, entries: queue.entries, known: queue.known };
}

/** True when something has changed: entries went in, or turned out not to be ready. */
async function mergeReady(run: Run, queue: Queue): Promise<boolean> {
  const ready = queue.entries.flatMap((entry) =>
    entry.ready_to_merge ? (queue.known.get(entry.session_id) ?? []) : [],
  );
  if (ready.length > 0) await checkTarget(run);
  const passed = run.passed_over.size;
  let merged = 0;
  for (let at = 0; at < ready.length; ) {
    if (run.signal.aborted) throw interrupted(run);
    const size = run.gate.commands.length === 0 ? MAX_UNGATED : run.is_target_red ? 1 : run.batch;
    merged += await mergeBatch(run, ready.slice(at, at + size));
    at += size;
  }
  return merged > 0 || run.passed_over.size > passed;
}

function interrupted({ outcomes }: Run): AppError {
  const merged = outcomes.filter(({ outcome }) => outcome === 'merged').map(({ session_id }) => session_id);
  return new AppError('interrupted', 'interrupted', `interrupted after ${merged.length} merges`, {
    preserved: 'what was merged is merged; everything else is as it was',
    data: { merged },
  });
}

/**
 * Rebases and merges, one after the other, those that only conflicted with the target when all were looked at. Each is
 * looked at alone: a look at everything after every step would ask git as often as there are pairs of entries. Nothing is
 * ready at this point, so that nobody is overtaken. True when something has changed.
 */
async function rebaseBlocked(run: Run, selection: Selection, queue: Queue): Promise<boolean> {
  let hasChanged = false;
  for (const { session_id } of queue.entries.filter(canAutoRebase)) {
    if (run.signal.aborted) throw interrupted(run);
    const rows = async () => [await getSession(run.deps.store, session_id)].filter((row) => row !== null);
    const look = () => lookNow(run, { ...selection, rows }, new Map());
    const before = await look();
    const isRebased = await rebaseOne(run, before);
    const hasMoved = await mergeReady(run, isRebased ? await look() : before);
    hasChanged ||= isRebased || hasMoved;
  }
  return hasChanged;
}

/** True when it was tried: rebased, or found that it cannot be. */
async function rebaseOne(run: Run, queue: Queue): Promise<boolean> {
  const entry = queue.entries.find(canAutoRebase);
  const known = entry === undefined ? undefined : queue.known.get(entry.session_id);
  if (known === undefined || !hasHead(known)) return false;
  try {
    const done = await rebaseEntry(run, known, queue.target_head);
    if (done === 'up_to_date') passOver(run, known, 'conflict', 'it stands on the target and still conflicts');
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug' || error.kind === 'unavailable') throw error;
    const reason = `git rebase failed: ${error.message}`;
    passOver(run, known, 'failed', reason);
    run.outcomes.push(outcomeOf(known, 'failed', { reason }));
  }
  return true;
}

export function hasHead(known: Known): known is Known & { head: string } {
  return known.head !== null;
}
