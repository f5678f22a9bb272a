import { identitySettings } from '../git/commit-tree.ts';
import { DURABLE, syncRepository } from '../git/durable.ts';
import { workFacts } from '../git/facts.ts';
import { findRepository, type Repository, resolveCommit } from '../git/repository.ts';
import { git, gitFailed, gitOutput } from '../git/run.ts';
import { AppError } from '../model/error.ts';
import type { ReservationRow } from '../model/reservation.ts';
import { threadMismatch } from '../model/reservation-advice.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { noteCapture } from '../store/thread.ts';
import { type Named, validated } from './reservation.ts';

export interface CaptureRequest {
  /** Where the caller stands; used when it is a checkout of the thread, or no other is known (CX-58). */
  cwd: string;
  message?: string | undefined;
  /** 0 to 1, as the agent sees it. */
  confidence?: number | undefined;
}

export interface Captured {
  session_id: string;
  thread: string;
  /** False: there was nothing to commit. */
  changed: boolean;
  /** Head of the checkout afterwards; null before the first commit. */
  commit: string | null;
  path: string;
}

/**
 * Commits everything in the reservation's checkout in its owner's name (HC-25); it survives a power loss then. No hooks and
 * no filters run.
 * Throws `agent_session_*`, `operation_in_progress`, `filter_needed`, `foreign_checkout` (3), `checkout_missing` (4).
 */
export async function capture(deps: Deps, caller: Caller, named: Named, request: CaptureRequest): Promise<Captured> {
  return captureFor(deps, await validated(deps, caller, named), request);
}

/** The same for a reservation that was validated. */
export async function captureFor(deps: Deps, row: ReservationRow, request: CaptureRequest): Promise<Captured> {
  const { root, branch } = await checkoutFor(row, request.cwd);
  if (branch !== null && branch !== row.thread) throw threadMismatch(row, branch);
  const changed = await commitAll(row, root, request);
  const commit = await resolveCommit(root, 'HEAD');
  if (changed && commit !== null && branch !== null)
    await noteCapture(deps.store, { repo_root: row.repo_root, branch, commit, now: deps.clock.now() });
  return { session_id: row.session_id, thread: row.thread, changed, commit, path: root };
}

/** The caller's own checkout if it is on the thread, else that of the reservation (CX-58). */
async function checkoutFor(row: ReservationRow, cwd: string): Promise<Repository> {
  const own = await findRepository(cwd);
  const isOwn = own !== null && !own.is_bare && own.main_root === row.repo_root;
  if (isOwn && (own.branch === row.thread || row.path === null)) return own;
  const place = row.path === null ? null : await findRepository(row.path);
  if (place !== null && !place.is_bare && place.main_root === row.repo_root) return place;
  if (row.path !== null || own === null)
    throw new AppError(
      'not_found',
      'checkout_missing',
      `there is no checkout of ${row.repo_root} at ${row.path ?? cwd}`,
      {
        hint: `Go into a checkout of ${row.thread}.`,
        preserved: PRESERVED,
        recovery_commands: ['git worktree list'],
      },
    );
  throw new AppError('refused', 'foreign_checkout', `${own.root} does not belong to ${row.repo_root}`, {
    hint: `Go into a checkout of ${row.thread}.`,
    unsafe_condition: `session ${row.session_id} has a thread of another repository`,
    would_change: 'work of one repository would be committed for a reservation of another',
    preserved: PRESERVED,
    recovery_commands: [`cd ${row.repo_root}`],
  });
}

const PRESERVED = 'the session heartbeat was refreshed, but no commit, refs, index, or worktree changes were applied';

/** False: nothing has changed. */
async function commitAll(row: ReservationRow, root: string, request: CaptureRequest): Promise<boolean> {
  const facts = await workFacts(root, null);
  if (facts?.in_progress) throw inProgress(facts.in_progress);
  if (facts === null || facts.dirty.length === 0) return false;
  const filtered = await filteredPaths(root);
  if (filtered.length > 0) throw needsFilter(filtered);
  await gitOutput('stage the work', ['add', '--all', '--', ':/'], { cwd: root, settings: DURABLE });
  const staged = await git(['diff', '--cached', '--quiet'], { cwd: root });
  if (staged.code === 0) return false;
  const args = ['commit', '--quiet', '--no-verify', '--cleanup=whitespace', '--file=-'];
  const settings = [...DURABLE, ...(await identitySettings(root))];
  const done = await git(args, { cwd: root, stdin: messageOf(row, request), settings });
  if (done.code !== 0) throw gitFailed('commit the work', done);
  await syncRepository(root);
  return true;
}

/** The message with who has done it, as trailers of git's own form. */
function messageOf(row: ReservationRow, { message, confidence }: CaptureRequest): string {
  const text = message?.replaceAll('\0', '').trim() || row.attach_reason?.trim() || `Work on ${row.thread}`;
  const trailers: [string, string | null][] = [
    ['Agent-Session', row.session_id],
    ['Agent-Model', row.model],
    ['Agent-Harness', row.harness],
    ['Confidence', confidence === undefined ? null : String(confidence)],
  ];
  const lines = trailers.flatMap(([name, value]) =>
    value === null ? [] : [`${name}: ${value.replace(/\s+/g, ' ').trim()}`],
  );
  return `${text}\n\n${lines.join('\n')}\n`;
}

/** Files whose content git would have to pass through a program first (large files kept elsewhere). */
async function filteredPaths(root: string): Promise<string[]> {
  const list = ['ls-files', '-z', '--modified', '--others', '--exclude-standard'];
  const paths = await gitOutput(`list what has changed in ${root}`, list, { cwd: root });
  if (paths === '') return [];
  const args = ['check-attr', '-z', '--stdin', 'filter'];
  const fields = (await gitOutput('look for filters', args, { cwd: root, stdin: paths })).split('\0');
  const found: string[] = [];
  for (let i = 0; i + 2 < fields.length; i += 3) {
    const value = fields[i + 2];
    if (value !== 'unspecified' && value !== 'unset') found.push(fields[i] ?? '');
  }
  return found;
}

function inProgress(operation: string): AppError {
  return new AppError('refused', 'operation_in_progress', `a ${operation} is in progress in this checkout`, {
    hint: `Finish the ${operation}, or give it up.`,
    unsafe_condition: `the checkout is in the middle of a ${operation}`,
    would_change: 'half of it, with conflict markers perhaps, would be committed as work',
    preserved: PRESERVED,
    recovery_commands: [`git ${operation} ${operation === 'bisect' ? 'reset' : '--abort'}`],
  });
}

function needsFilter(paths: readonly string[]): AppError {
  const shown = paths.slice(0, 3).map((path) => JSON.stringify(path));
  return new AppError(
    'refused',
    'filter_needed',
    `git keeps ${shown.join(', ')} through a filter, and drover runs none`,
    {
      hint: 'Commit these files yourself; what is left can then be captured.',
      unsafe_condition: `${paths.length} changed files have a filter attribute (as large files kept elsewhere have)`,
      would_change: 'their whole content would be committed in place of what the filter makes of it',
      preserved: PRESERVED,
      recovery_commands: ['git status'],
    },
  );
}
