import { AppError, type ErrorDetails, type ErrorKind } from './error.ts';
import type { ReservationRow, ReservationStatus } from './reservation.ts';
import { quoted } from './shell.ts';

/**
 * Every refusal of the reservation verbs (HC-31, HC-32): what was unsafe, what it would have changed, what was preserved,
 * and what to type. `preserved` is true: the tests compare the rows, the refs and the files before and after.
 */

const UNCHANGED = 'no thread refs or reservation records were changed';
const CREATES = 'starting another writer could create competing histories for the same thread';
const FORKS = 'starting from the requested anchor could fork the same thread name into competing histories';
const REBASE = 'Refresh the thread or rebase before retrying.';
const UNTOUCHED = 'no session heartbeat, capture, readiness, refs, or worktree changes were applied';

function refuse(
  code: string,
  message: string,
  details: ErrorDetails & { recovery_commands: string[] },
  kind: ErrorKind = 'refused',
): AppError {
  return new AppError(kind, code, message, details);
}

/** Shows who has a thread: the primary command of every conflict. */
function look(thread: string): string {
  return `drover reservations --thread ${quoted(thread)}`;
}

interface Conflict {
  thread: string;
  /** Full id of the commit that was asked for. */
  anchor: string;
  /** Dead owners that were cleared away before it was refused. */
  reaped: number;
  /** The branch moved while the reservation was made, which was then taken back. */
  is_late?: boolean;
}

/** What was not changed, and nothing more (HC-31). */
function kept({ reaped, is_late }: Conflict): string {
  const others = 'no thread refs or live reservation records were changed';
  if (is_late) return `${others} (the attempt is recorded as abandoned)`;
  return reaped === 0 ? UNCHANGED : `${others} (${reaped} of dead owners marked abandoned)`;
}

/** HC-09, HC-10: the thread has an owner, on the same anchor (`live_owner`) or on another (`anchor_drift`). */
export function ownerConflict(
  owner: Pick<ReservationRow, 'session_id' | 'anchor_commit'>,
  conflict: Conflict,
): AppError {
  const { thread, anchor } = conflict;
  const primary = look(thread);
  const at = owner.anchor_commit ?? '<unknown>';
  if (owner.anchor_commit !== anchor) {
    return refuse(
      'anchor_drift',
      `thread '${thread}' is reserved by session '${owner.session_id}' on anchor ${at}, but reservation requested ${anchor}`,
      {
        hint: REBASE,
        unsafe_condition: `thread '${thread}' has an active reservation at a different anchor`,
        would_change: FORKS,
        preserved: kept(conflict),
        recovery_commands: [primary],
      },
    );
  }
  return refuse('live_owner', `thread '${thread}' already has a live reservation on session '${owner.session_id}'`, {
    hint: `Inspect it with \`${primary}\`, or release that session before starting another writer.`,
    unsafe_condition: `thread '${thread}' is reserved by live session '${owner.session_id}' at anchor ${at}`,
    would_change: CREATES,
    preserved: kept(conflict),
    recovery_commands: [primary],
  });
}

/** HC-11: nobody has the thread, but its branch is somewhere else. */
export function refDrift(ref: string, conflict: Conflict): AppError {
  const { thread, anchor } = conflict;
  return refuse('anchor_drift', `thread '${thread}' is anchored at ${ref}, but reservation requested ${anchor}`, {
    hint: REBASE,
    unsafe_condition: `thread '${thread}' already points at a different anchor`,
    would_change: FORKS,
    preserved: kept(conflict),
    recovery_commands: [look(thread), `drover reserve --thread ${quoted(thread)} --anchor ${quoted(thread)}`],
  });
}

/** H-44: a session that is put back to work finds its thread taken. */
export function threadTaken(thread: string, owner: Pick<ReservationRow, 'session_id'>): AppError {
  const primary = look(thread);
  return refuse(
    'live_owner',
    `thread '${thread}' already has active reservation ${owner.session_id}. Use \`${primary}\` to inspect it, or release the session before starting another writer.`,
    {
      hint: `Release it first: drover release --session ${owner.session_id} --status complete`,
      unsafe_condition: `thread '${thread}' is reserved by live session '${owner.session_id}'`,
      would_change: CREATES,
      preserved: 'nothing was changed',
      recovery_commands: [primary],
    },
  );
}

/** HC-04. */
export function threadNameInvalid(thread: string): AppError {
  return refuse(
    'thread_name_invalid',
    `thread name ${JSON.stringify(thread)} cannot be the name of a branch`,
    {
      hint: 'Use letters, digits, dots, dashes and slashes; see git help check-ref-format.',
      unsafe_condition: 'the thread name is not a valid branch name',
      would_change: 'a ref with this name could not be created or could be mistaken for something else',
      preserved: UNCHANGED,
      recovery_commands: ['drover reserve --thread <thread>'],
    },
    'usage',
  );
}

/** HC-20. */
export function reservationNotFound(id: string): AppError {
  return refuse(
    'agent_session_not_found',
    `agent session '${id}' not found`,
    {
      hint: 'Reserve the thread again before retrying the guarded agent command.',
      unsafe_condition: `no reservation entry exists for session ${id}`,
      would_change: 'continuing would let an unknown session mutate repository state',
      preserved: UNTOUCHED,
      recovery_commands: ['drover reserve --thread <thread>'],
    },
    'not_found',
  );
}

/** HC-27; `refreshed`: its timestamps were moved before its status was seen (HC-26). */
export function reservationInactive(
  row: Pick<ReservationRow, 'session_id' | 'status' | 'thread'>,
  refreshed: boolean,
): AppError {
  return refuse(
    'agent_session_inactive',
    `agent session '${row.session_id}' is no longer active (status: ${row.status})`,
    {
      hint: 'Reserve the thread again before retrying the guarded agent command.',
      unsafe_condition: `session ${row.session_id} has terminal status ${row.status}`,
      would_change: 'continuing would let a stale reservation write or mark readiness after ownership ended',
      preserved: refreshed
        ? 'the session heartbeat was refreshed, but no capture, ready, refs, or worktree changes were applied'
        : UNTOUCHED,
      recovery_commands: [`drover reserve --thread ${quoted(row.thread)}`],
    },
  );
}

/** HC-28. */
export function threadMismatch(row: Pick<ReservationRow, 'session_id' | 'thread'>, current: string): AppError {
  const command = `git switch ${quoted(row.thread)}`;
  return refuse(
    'agent_session_thread_mismatch',
    `agent session '${row.session_id}' reserved thread '${row.thread}', but the current thread is '${current}'`,
    {
      hint: `Switch to the reserved thread with \`${command}\` before capturing.`,
      unsafe_condition: `session ${row.session_id} owns thread ${row.thread}, current checkout is attached to ${current}`,
      would_change:
        'capturing from the wrong thread would attribute work to a reservation that does not own this checkout',
      preserved: 'the session heartbeat was refreshed, but no commit, refs, index, or worktree changes were applied',
      recovery_commands: [command],
    },
  );
}

/** A status that the machine does not lead to (MODEL §3, CX-05). */
export function illegalStatus(row: Pick<ReservationRow, 'session_id' | 'status'>, to: ReservationStatus): AppError {
  return refuse('illegal_transition', `agent session '${row.session_id}' is ${row.status} and cannot become ${to}`, {
    hint: 'What has ended stays as it ended; reserve the thread again to go on.',
    unsafe_condition: `session ${row.session_id} has terminal status ${row.status}`,
    would_change: `the record of how the reservation ended would be overwritten with ${to}`,
    preserved: UNTOUCHED,
    recovery_commands: ['drover reservations'],
  });
}

/** CX-44: `wrong`: one was given, and it is not this reservation's. */
export function tokenRefused(id: string, wrong: boolean): AppError {
  const message = wrong
    ? `the token given is not that of agent session '${id}'`
    : `agent session '${id}' may only be used with its token`;
  return refuse(wrong ? 'reservation_token_invalid' : 'reservation_token_required', message, {
    hint: 'Give the reservation_token that `drover reserve` printed: --token TOKEN.',
    unsafe_condition: `nothing proves that the caller owns session ${id}`,
    would_change: 'continuing would let somebody else use a reservation that is not theirs',
    preserved: UNTOUCHED,
    recovery_commands: ['drover reservations'],
  });
}
