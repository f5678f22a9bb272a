import type { PathReservationRow, ReservationRow } from '../model/reservation.ts';
import { chainNode } from '../model/reservation-output.ts';
import type { AgentReservationOutput } from '../model/reservation-schema.ts';
import type { Context } from './context.ts';
import { age, clip, instantText, paint, SCHEMA_VERSION, safe } from './output.ts';
import { writeOut } from './stream-out.ts';

/**
 * The one line of JSON that `reserve`, `heartbeat` and `release` print whether or not `--json` was given (HC-01); with it,
 * inside drover's own envelope. Throws `ReaderGone`.
 */
export async function printEnvelope(context: Context, reservation: AgentReservationOutput): Promise<void> {
  const envelope = context.globals.json ? { schema_version: SCHEMA_VERSION, ok: true } : {};
  await writeOut(`${JSON.stringify({ ...envelope, reservation })}\n`);
}

/** What is known of the owners beside their rows. */
interface Owners {
  /** Names of the sessions among them, by id. */
  names: ReadonlyMap<string, string>;
  /** Ids of active reservations whose owner is dead. */
  dead: ReadonlySet<string>;
}

/** HC-24, and of a session its name, of a dead owner that it is dead. */
export function renderReservations(rows: readonly ReservationRow[], owners: Owners): string {
  if (rows.length === 0) return 'No agent reservations.';
  return [`Agent reservations (${rows.length}):`, ...rows.flatMap((row) => linesOf(row, owners))].join('\n');
}

function linesOf(
  { session_id, status, thread, attach_reason, path, owner_session_id, lease_ms }: ReservationRow,
  { names, dead }: Owners,
): string[] {
  const name = names.get(owner_session_id ?? '');
  const colour = status === 'active' ? 'green' : 'dim';
  return [
    `  ${session_id} [${paint(colour, status)}] thread=${safe(thread)}`,
    ...(attach_reason === null ? [] : [`    task: ${clip(attach_reason, 200)}`]),
    ...(path ? [`    path: ${safe(path)}`] : []),
    ...(name === undefined ? [] : [`    session: ${safe(name)}`]),
    ...(dead.has(session_id)
      ? [paint('yellow', `    owner: dead, ${whyDead(lease_ms)}; who reserves next has it`)]
      : []),
  ];
}

function whyDead(lease_ms: number | null): string {
  return lease_ms === null ? 'its process is gone' : `no sign of life for ${age(lease_ms)}`;
}

/** Root first, each one deeper than who started it. */
export function renderChain(rows: readonly ReservationRow[]): string {
  if (rows.length === 0) return 'nobody has this id';
  return rows
    .map(chainNode)
    .map(
      ({ session_id, status, thread, native_actor_key }, depth) =>
        `${'  '.repeat(depth)}${session_id} [${status}] thread=${safe(thread)}${native_actor_key === null ? '' : ` ${safe(native_actor_key)}`}`,
    )
    .join('\n');
}

/** `src/auth/** by build-1: moves the login, for 2h more`. */
export function pathReservationLine({ glob, owner_name, reason, expires_at }: PathReservationRow, now: number): string {
  const why = reason === null ? '' : `: ${clip(reason, 80)}`;
  const left = expires_at === null ? '' : `, for ${age(expires_at - now)} more`;
  return `${clip(glob, 80)} by ${clip(owner_name, 40)}${why}${left}`;
}

/** As it leaves us: times as text, and no column that is always null while it stands. */
export function pathReservationJson({
  created_at,
  expires_at,
  released_at: _over,
  repo_root: _root,
  ...row
}: PathReservationRow) {
  return {
    ...row,
    created_at: instantText(created_at),
    expires_at: expires_at === null ? null : instantText(expires_at),
  };
}
