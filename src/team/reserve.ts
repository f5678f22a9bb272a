import { advanceBranch, branchHead } from '../git/branch.ts';
import { type Repository, realDirectory } from '../git/repository.ts';
import type { AppError } from '../model/error.ts';
import { newId } from '../model/id.ts';
import { type Anchor, nativeActorKey, type ReservationRow } from '../model/reservation.ts';
import { ownerConflict, refDrift } from '../model/reservation-advice.ts';
import type { OwnerLife } from '../model/reservation-machine.ts';
import { reservationOutput } from '../model/reservation-output.ts';
import type { HarnessProbe } from '../model/reservation-probe.ts';
import type { AgentReservationOutput } from '../model/reservation-schema.ts';
import type { Deps } from '../session/deps.ts';
import { type Caller, hashToken } from '../session/identity.ts';
import { ownerProbe } from '../session/owner-probe.ts';
import {
  type NewReservation,
  type ReservationMatch,
  type ReserveInput,
  type ReserveOutcome,
  reapDead,
  tryReconnect,
  tryReserve,
  withdrawReservation,
} from '../store/reservation.ts';
import { listReservations } from '../store/reservation-list.ts';
import { getSession } from '../store/session.ts';
import { ensureThread, threadPath } from '../store/thread.ts';
import { bootId, startTime } from '../sys/identity.ts';
import { checkThreadName, repositoryAt, resolveAnchor } from './anchor.ts';

export interface ReserveRequest {
  /** Where the caller stands: any directory of the repository. */
  cwd: string;
  thread: string;
  anchor?: string | undefined;
  task?: string | undefined;
  /** The process whose life is the owner's; null: none (a session, or only a lease). */
  pid: number | null;
  lease_ms: number | null;
  probe: HarnessProbe;
  keys: Partial<Record<(typeof KEYS)[number], string | undefined>>;
}

const KEYS = ['client_instance_id', 'native_actor_key', 'native_parent_actor_key', 'native_instance_key'] as const;

interface Attempt {
  deps: Deps;
  caller: Caller;
  request: ReserveRequest;
  repository: Repository;
  anchor: Anchor;
  /** Where the branch was when it was judged; null: there was none. */
  ref: string | null;
  now: number;
}

/**
 * Reserves a thread for one owner (HC-01…HC-18). `print` gets the answer and is part of the act: when it fails (nobody reads
 * any more) the reservation is taken back and the failure passed on (HC-15).
 * Throws `thread_name_invalid`, `not_a_repository` (2), `live_owner`, `anchor_drift`, `no_head` (3), `anchor_not_found` (4).
 */
export async function reserve(
  deps: Deps,
  caller: Caller,
  request: ReserveRequest,
  print: (reservation: AgentReservationOutput) => Promise<void>,
): Promise<ReservationRow> {
  await checkThreadName(request.thread, request.cwd);
  const repository = await repositoryAt(request.cwd);
  const anchor = await resolveAnchor(repository, request.anchor);
  const ref = await branchHead(repository.main_root, request.thread);
  const attempt: Attempt = { deps, caller, request, repository, anchor, ref, now: deps.clock.now() };
  const token = newId('agent');
  const outcome = await claim(attempt, token);
  if (outcome.outcome === 'live_owner') throw ownerConflict(outcome.entry, conflictOf(attempt, outcome.reaped));
  const { entry, created } = outcome;
  if (!created) {
    await print(reservationOutput(entry, null));
    return entry;
  }
  try {
    await settle(attempt, entry);
    await print(reservationOutput(entry, token));
  } catch (error) {
    await takeBack(deps, entry);
    throw error;
  }
  return entry;
}

function conflictOf({ request, anchor }: Attempt, reaped: number) {
  return { thread: request.thread, anchor: anchor.commit, reaped };
}

/** HC-07: the branch is elsewhere. Dead owners go first, so that the advice names one only if it may live. */
async function drift({ deps, request, repository, anchor, now }: Attempt, ref: string): Promise<AppError> {
  const of = { repo_root: repository.main_root, thread: request.thread };
  const reaped = await reapDead(deps.store, { ...of, probe: ownerProbe(now), now });
  const { rows } = await listReservations(deps.store, { ...of, active_only: true }, now);
  const conflict = { thread: request.thread, anchor: anchor.commit, reaped };
  return rows[0] === undefined ? refDrift(ref, conflict) : ownerConflict(rows[0], conflict);
}

/**
 * Whoever comes back to its own reservation does so wherever its branch is by now: that it moved is its own work. Anybody
 * else begins at the anchor. Throws `anchor_drift`, `live_owner` (3).
 */
async function claim(attempt: Attempt, token: string): Promise<ReserveOutcome> {
  const { deps, anchor, ref } = attempt;
  const input = await inputOf(attempt, token);
  if (ref === null || ref === anchor.commit) return tryReserve(deps.store, input);
  const back = input.reconnect === undefined ? null : await tryReconnect(deps.store, input);
  if (back === null) throw await drift(attempt, ref);
  return back;
}

async function inputOf(attempt: Attempt, token: string): Promise<ReserveInput> {
  const { deps, caller, request, repository, now } = attempt;
  const known = await threadPath(deps.store, repository.main_root, request.thread);
  const draft = await draftOf(attempt, token, known === null ? null : (realDirectory(known) ?? known));
  const match = matchOf(attempt);
  const pid = { pid: draft.pid, pid_start_time: draft.pid_start_time, boot_id: draft.boot_id };
  const update = (row: ReservationRow, life: OwnerLife) => ({
    ...(isOfItsSession(row, life) ? longer(row, request) : { ...pid, lease_ms: request.lease_ms }),
    ...{ heartbeat_at: now, last_progress_at: now },
  });
  const own_id = caller.session?.id;
  let tries = 0;
  return {
    repo_root: repository.main_root,
    thread: request.thread,
    probe: ownerProbe(now),
    // The session's own reservation has the session's id, as long as it is free.
    new_id: () => (tries++ === 0 && own_id !== undefined ? own_id : newId('agent')),
    build: (session_id) => ({ ...draft, session_id, liveness_path: `${deps.home}/agents/${session_id}.live` }),
    reconnect: match === null ? undefined : { match, process: pid, update },
    now,
  };
}

/** It lives without a process, by its session: whoever else comes back to it must not make it die sooner. */
function isOfItsSession(row: ReservationRow, life: OwnerLife): boolean {
  return life === 'unknown' && row.owner_session_id !== null && row.pid === null;
}

function longer(row: ReservationRow, { lease_ms }: ReserveRequest): Pick<ReservationRow, 'lease_ms'> {
  return { lease_ms: row.lease_ms === null || lease_ms === null ? null : Math.max(row.lease_ms, lease_ms) };
}

/** A session, and whoever names the instance it is, may come back to its own reservation (H-45). Null: nobody knows. */
function matchOf({ caller: { session }, request: { keys } }: Attempt): ReservationMatch | null {
  const { client_instance_id, native_instance_key } = keys;
  const named = {
    ...(client_instance_id === undefined ? {} : { client_instance_id }),
    ...(native_instance_key === undefined ? {} : { native_instance_key }),
  };
  if (session === null && Object.keys(named).length === 0) return null;
  return { owner_session_id: session?.id ?? null, ...named };
}

/** The fields of HC-12. */
async function draftOf(
  { deps, caller, request, repository, anchor, now }: Attempt,
  token: string,
  path: string | null,
): Promise<NewReservation> {
  const { pid, probe, keys } = request;
  const native = await nativeKeys(deps, caller);
  const used = { input_tokens: null, output_tokens: null, reasoning_tokens: null, tool_calls: null, cost_micros: null };
  return {
    ...{ session_id: '', repo_root: repository.main_root, thread: request.thread, started_at: now },
    ...{ token_hash: hashToken(token), pid, boot_id: pid === null ? null : bootId() },
    ...{ pid_start_time: pid === null ? null : startTime(pid), lease_ms: request.lease_ms },
    ...{ liveness_path: null, heartbeat_at: now, last_progress_at: now },
    ...{ anchor_commit: anchor.commit, anchor_tree: anchor.tree_short, base_short: anchor.commit_short, path },
    client_instance_id: keys.client_instance_id ?? null,
    native_actor_key: keys.native_actor_key ?? native.own,
    native_parent_actor_key: keys.native_parent_actor_key ?? native.parent,
    native_instance_key: keys.native_instance_key ?? null,
    owner_session_id: caller.session?.id ?? null,
    ...(caller.session === null ? probe : sessionProbe(caller.session)),
    ...{ ...used, report_flush_state: null, attach_reason: request.task ?? null },
    ...{ attach_precedence_json: '["agent-reserve"]', winning_attach_rule: 'agent-reserve' },
  };
}

function sessionProbe({ harness, model }: { harness: string; model: string | null }): HarnessProbe {
  return { harness, model, provider: null, thinking_level: null, probe_source: 'session', probe_confidence: 1 };
}

/** The keys by which the harness itself knows a session and its parent (H-13). */
async function nativeKeys(deps: Deps, { session }: Caller): Promise<{ own: string | null; parent: string | null }> {
  const parent = session?.parent_id == null ? null : await getSession(deps.store, session.parent_id);
  return { own: nativeActorKey(session), parent: nativeActorKey(parent) };
}

/** The branch by compare-and-swap on where it was (HC-15), then the record of the thread (HC-16). */
async function settle(attempt: Attempt, entry: ReservationRow): Promise<void> {
  const { deps, request, repository, anchor, ref, now } = attempt;
  const { main_root: repo_root } = repository;
  const { thread: branch } = request;
  const to = anchor.commit;
  const isStill =
    ref === null
      ? (await advanceBranch({ repo_root, branch, from: null, to, clock: deps.clock })) === 'advanced'
      : (await branchHead(repo_root, branch)) === ref;
  if (!isStill)
    throw refDrift((await branchHead(repo_root, branch)) ?? '<none>', { ...conflictOf(attempt, 0), is_late: true });
  await ensureThread(deps.store, {
    thread: {
      ...{ repo_root, branch, target_branch: repository.branch === branch ? null : repository.branch },
      ...{ base_commit: to, base_tree: anchor.tree, task: request.task ?? null, execution_path: repository.root },
    },
    created_for: ref === null ? entry.session_id : null,
    now,
  });
}

/**
 * A twin of the same session may have come back to it meanwhile; then it is the twin's. False then, and when this fails
 * too: what people have to hear of is the failure before it (HC-15).
 */
async function takeBack({ store, clock }: Deps, entry: ReservationRow): Promise<boolean> {
  return withdrawReservation(store, entry, clock.now()).catch(() => false);
}
