import { AppError } from '../model/error.ts';
import { buildQueue } from '../model/merge-queue.ts';
import type { SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import { checkTarget } from './advance.ts';
import { type Ahead, aheadAgain, candidatesFor } from './candidates.ts';
import { unknowable } from './facts.ts';
import { AT_ONCE, type Patience } from './lock.ts';
import { lookNow, processTarget } from './process.ts';
import { type QueueReport, reportOf } from './report.ts';
import type { Processed, Refusal } from './run.ts';
import { reconcileOthers, refuseUntrusted, targetOf, withTarget } from './target.ts';

export interface QueueRequest {
  repo_root: string;
  /** One target for all of them; null: each session's own. */
  into: string | null;
  /** Also sessions that ended without being completed; null: as configured. */
  all_ended: boolean | null;
  is_clean: boolean;
  /** For each target; else one that somebody merges into is refused at once. */
  patience?: Patience;
  dry_run: boolean;
  by: string;
  /** Whose work it may take up; absent: everybody's. */
  may?: (row: SessionRow) => boolean;
  signal: AbortSignal;
}

/**
 * Merges what is ready in a repository, one target after the other (E-155). One target that is refused does not keep
 * others from being worked on. With `dry_run` nothing is written at all, and only the queue is reported.
 * Throws `repository_untrusted`, `interrupted`, and what concerns the machine; with one target only, its refusal.
 */
export async function mergeQueue(deps: Deps, request: QueueRequest): Promise<QueueReport> {
  const { repo_root, is_clean } = request;
  const config = await deps.config_for(repo_root);
  refuseUntrusted(config, repo_root);
  const require_completed = request.all_ended === null ? config.merge.require_completed : !request.all_ended;
  const targets = new Map<string, SessionRow[]>();
  const astray: Processed[] = [];
  const ahead = await aheadAgain(deps, request);
  for (const row of await allowedRows(deps, request, ahead)) {
    const target = targetFor(row, request.into);
    if (typeof target === 'string') targets.set(target, [...(targets.get(target) ?? []), row]);
    else astray.push(unplaced(row, target));
  }
  const done: Processed[] = [];
  const refusals: Refusal[] = [];
  for (const [target, rows] of targets) {
    try {
      if (request.dry_run) await lookOnly(deps, request, { target, require_completed, ahead }, done);
      else await workOn(deps, request, { target, require_completed, ahead }, done);
    } catch (error) {
      if (!(error instanceof AppError) || error.kind !== 'refused') throw error;
      refusals.push({ target, session_ids: rows.map(({ id }) => id), error });
    }
  }
  // What a dead merge left of work that is no candidate any more.
  if (!request.dry_run && targets.size === 0) {
    await reconcileOthers({ deps, repo_root, target: null, by: request.by, is_clean: false, signal: request.signal });
  }
  const [refusal] = refusals;
  if (refusal !== undefined && targets.size === 1 && done.length === 0) throw refusal.error;
  return reportOf([...done, ...astray], refusals, { is_single_pass: !is_clean });
}

interface Part {
  target: string;
  require_completed: boolean;
  ahead: Ahead;
}

async function allowedRows(deps: Deps, request: QueueRequest, ahead: Ahead): Promise<SessionRow[]> {
  const { may = () => true } = request;
  return (await candidatesFor(deps, request, ahead)).filter(may);
}

function rowsFor(deps: Deps, request: QueueRequest, { target, ahead }: Part): () => Promise<SessionRow[]> {
  return async () => (await allowedRows(deps, request, ahead)).filter((row) => targetFor(row, request.into) === target);
}

/** The queue as it is, and what would be refused. */
async function lookOnly(deps: Deps, request: QueueRequest, part: Part, done: Processed[]): Promise<void> {
  const { target, require_completed } = part;
  const place = { deps, repo_root: request.repo_root, target, by: request.by };
  const selection = { rows: rowsFor(deps, request, part), require_completed };
  const { entries, known } = await lookNow({ ...place, passed_over: new Map() }, selection, new Map());
  done.push({ outcomes: [], entries, known });
  if (entries.some((entry) => entry.ready_to_merge)) await checkTarget(place);
}

async function workOn(deps: Deps, request: QueueRequest, part: Part, done: Processed[]): Promise<void> {
  const { repo_root, is_clean, patience = AT_ONCE, by, signal } = request;
  const { target, require_completed } = part;
  const rows = rowsFor(deps, request, part);
  await withTarget({ deps, repo_root, target, by, is_clean, patience, signal }, async (run) => {
    try {
      done.push(await processTarget(run, { rows, require_completed, is_single_pass: !is_clean }));
    } catch (error) {
      // What went in before the refusal stays in, and is told.
      if (run.outcomes.length > 0) done.push({ outcomes: run.outcomes, entries: [], known: new Map() });
      throw error;
    }
  });
}

function targetFor(row: SessionRow, into: string | null): string | AppError {
  try {
    return targetOf(row, into);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
}

/** A session whose work is meant for no branch is an entry of its own, and no reason to leave the others. */
function unplaced(row: SessionRow, error: AppError): Processed {
  const known = unknowable(row, row.base_branch ?? '', error.message);
  const entries = buildQueue([known.candidate], new Map());
  return { outcomes: [], entries, known: new Map([[row.id, known]]) };
}
