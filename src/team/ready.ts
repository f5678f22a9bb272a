import { branchHead } from '../git/branch.ts';
import { workFacts } from '../git/facts.ts';
import { findRepository } from '../git/repository.ts';
import { AppError } from '../model/error.ts';
import type { MailRow } from '../model/mail.ts';
import { reservationInactive } from '../model/reservation-advice.ts';
import { quoted } from '../model/shell.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { markReady } from '../store/thread.ts';
import { type CaptureRequest, captureFor } from './capture.ts';
import { type Named, validated } from './reservation.ts';

export interface ReadyThread {
  session_id: string;
  thread: string;
  /** False: this commit was ready before. */
  changed: boolean;
  ready_commit: string;
  mail: MailRow | null;
  /** Paths of the checkout that the commit does not have. */
  uncommitted: string[];
}

/**
 * Marks the reservation's thread as ready to be merged where its branch is now (HC-29). With a message, what is not
 * committed is captured first. The sign of life stays when a later step fails.
 * Throws what `capture` throws, and `thread_missing` (4).
 */
export async function ready(deps: Deps, caller: Caller, named: Named, request: CaptureRequest): Promise<ReadyThread> {
  const row = await validated(deps, caller, named);
  if (request.message !== undefined) await captureFor(deps, row, request);
  const commit = await branchHead(row.repo_root, row.thread);
  if (commit === null) {
    throw new AppError('not_found', 'thread_missing', `there is no branch ${row.thread} any more`, {
      hint: 'Reserve the thread again, which makes it.',
      preserved: 'the session heartbeat was refreshed, but no ready, refs, or worktree changes were applied',
      recovery_commands: [`drover reserve --thread ${quoted(row.thread)}`],
    });
  }
  const message = request.message ?? null;
  const marked = await markReady(deps.store, { reservation: row, commit, message, now: deps.clock.now() });
  if (marked === null) throw reservationInactive({ ...row, status: 'abandoned' }, true);
  const { changed, mail } = marked;
  const { session_id, thread } = row;
  return {
    session_id,
    thread,
    changed,
    ready_commit: commit,
    mail,
    uncommitted: await uncommitted(row.path ?? request.cwd, thread),
  };
}

async function uncommitted(path: string, thread: string): Promise<string[]> {
  const checkout = await findRepository(path);
  if (checkout === null || checkout.is_bare || checkout.branch !== thread) return [];
  return (await workFacts(checkout.root, null))?.dirty ?? [];
}
