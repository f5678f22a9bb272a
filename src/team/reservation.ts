import { AppError } from '../model/error.ts';
import type { ReservationRow } from '../model/reservation.ts';
import { illegalStatus, reservationInactive, reservationNotFound, tokenRefused } from '../model/reservation-advice.ts';
import { checkReservationId } from '../model/reservation-machine.ts';
import type { ReservationMetadata } from '../model/reservation-schema.ts';
import { isSameHash } from '../model/reservation-token.ts';
import type { Deps } from '../session/deps.ts';
import { type Caller, hashToken } from '../session/identity.ts';
import { logContextQuery } from '../store/context-query.ts';
import { deleteReservation, moveReservation, type ReservationPatch, updateReservation } from '../store/reservation.ts';
import { listReservations, repositoryOf } from '../store/reservation-list.ts';

/** Which reservation, and what proves that the caller may use it. */
export interface Named {
  session_id: string;
  token: string | undefined;
}

/**
 * The reservation a verb is about: the one that was named, else the only active one that the calling session asked for, else
 * that of its worktree's branch.
 * Throws `session_id_invalid`, `session_id_missing` (2).
 */
export async function namedReservation(
  deps: Deps,
  { session }: Caller,
  given: { session?: string | undefined; token?: string | undefined },
): Promise<Named> {
  if (given.session !== undefined) return { session_id: checkReservationId(given.session), token: given.token };
  const all = session === null ? [] : await activeOf(deps, session.id);
  // The branch of its worktree it has without asking: what it asked for comes first.
  const asked = all.filter((row) => row.repo_root !== session?.repo_root || row.thread !== session.branch);
  const own = asked.length > 0 ? asked : all;
  if (own.length === 1 && own[0] !== undefined) return { session_id: own[0].session_id, token: given.token };
  throw new AppError('usage', 'session_id_missing', 'Name the reservation with --session.', {
    hint:
      own.length > 1
        ? `You hold ${own.map((row) => `${row.session_id} (${row.thread})`).join(', ')}.`
        : 'Its id is what `drover reserve` printed as session_id.',
    preserved: 'nothing was changed',
  });
}

async function activeOf({ store, clock }: Deps, owner_session_id: string): Promise<ReservationRow[]> {
  const query = { repo_root: null, active_only: true, owner_session_id };
  return (await listReservations(store, query, clock.now())).rows;
}

/**
 * Whether the caller may use a row, as a function to be asked inside the transaction (CX-44). A token that is given is
 * checked. Without one a session may use its own, and a person any unless `reservations.require_token` is set.
 */
async function mayUse(
  deps: Deps,
  { session }: Caller,
  { session_id, token }: Named,
): Promise<(row: ReservationRow) => void> {
  const given = token === undefined ? null : hashToken(token);
  const isDemanded = await demandsToken(deps, session_id);
  return (row) => {
    if (given !== null) {
      if (row.token_hash !== null && isSameHash(given, row.token_hash)) return;
      throw tokenRefused(row.session_id, true);
    }
    if (session === null ? !isDemanded : row.owner_session_id === session.id) return;
    throw tokenRefused(row.session_id, false);
  };
}

/**
 * Settings are read before the transaction, where nothing may be waited for; a row never changes its repository. A row that
 * nothing else can be read of has one, too: people have to be able to take it away (CX-42).
 */
async function demandsToken({ store, config_for }: Deps, session_id: string): Promise<boolean> {
  const repo_root = await repositoryOf(store, session_id);
  return repo_root === null || (await config_for(repo_root)).reservations.require_token;
}

/** A sign of life, and what the agent says about itself with it (HC-19). Throws `agent_session_*`. */
export async function heartbeat(
  deps: Deps,
  caller: Caller,
  named: Named,
  metadata: ReservationMetadata = {},
): Promise<ReservationRow> {
  const { session_id } = named;
  const now = deps.clock.now();
  const row = await updateReservation(deps.store, {
    ...{ session_id, active_only: true, may: await mayUse(deps, caller, named), now },
    update: () => ({ ...patchOf(metadata), heartbeat_at: now, last_progress_at: now }),
  });
  if (row === null) throw reservationNotFound(session_id);
  if (row.status !== 'active') throw reservationInactive(row, false);
  return row;
}

function patchOf({ attach_precedence, ...rest }: ReservationMetadata): ReservationPatch {
  const list = attach_precedence === undefined ? {} : { attach_precedence_json: JSON.stringify(attach_precedence) };
  return { ...(rest as ReservationPatch), ...list };
}

/**
 * The reservation a guarded act is done for. Its timestamps are moved before its status is seen, so also of one that has
 * ended, which the refusal says (HC-26, HC-27). Throws `agent_session_not_found` (4), `agent_session_inactive` (3).
 */
export async function validated(deps: Deps, caller: Caller, named: Named): Promise<ReservationRow> {
  const { session_id } = named;
  const now = deps.clock.now();
  const row = await updateReservation(deps.store, {
    ...{ session_id, active_only: false, may: await mayUse(deps, caller, named), now },
    update: () => ({ heartbeat_at: now, last_progress_at: now }),
  });
  if (row === null) throw reservationNotFound(session_id);
  if (row.status !== 'active') throw reservationInactive(row, true);
  return row;
}

/** Ends it (HC-21). Throws `agent_session_not_found` (4), `illegal_transition` (3). */
export async function release(
  deps: Deps,
  caller: Caller,
  named: Named,
  to: 'complete' | 'abandoned',
): Promise<{ row: ReservationRow; changed: boolean }> {
  const { session_id } = named;
  const may = await mayUse(deps, caller, named);
  const moved = await moveReservation(deps.store, { session_id, to, mover: 'owner', may, now: deps.clock.now() });
  if (moved.ok) return { row: moved.row, changed: moved.changed };
  throw moved.reason === 'not_found' ? reservationNotFound(session_id) : illegalStatus(moved.row, to);
}

/** Removes the record; nothing else changes (H-01, H-25). Throws `reservation_active` (3) without `force`. */
export async function remove(deps: Deps, caller: Caller, named: Named, force: boolean): Promise<void> {
  const { session_id } = named;
  const may = await mayUse(deps, caller, named);
  if (await deleteReservation(deps.store, { session_id, force, may, now: deps.clock.now() })) return;
  throw new AppError('refused', 'reservation_active', `agent session '${session_id}' is active`, {
    hint: 'Release it first, or use --force when its owner is gone for good.',
    unsafe_condition: `session ${session_id} may still be at work`,
    would_change: 'its thread would be free for another writer while the first one goes on',
    preserved: 'no thread refs or reservation records were changed',
    recovery_commands: [`drover release --session ${session_id} --status abandoned`],
  });
}

/** Notes what was looked up; false, and no failure, when the reservation is not active (H-58). */
export async function noteQuery(
  deps: Deps,
  session_id: string,
  query: { path: string; scope: string | null },
): Promise<boolean> {
  return logContextQuery(deps.store, { session_id: checkReservationId(session_id), ...query, now: deps.clock.now() });
}
