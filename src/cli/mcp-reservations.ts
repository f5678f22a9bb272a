import { z } from 'zod';
import { AppError } from '../model/error.ts';
import type { AgentReservationOutput } from '../model/reservation-schema.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { type Tool, tool } from './mcp-tool.ts';

/** Loaded by the first call: a start must not cost a turn anything. */
const lazy = {
  anchor: () => import('../team/anchor.ts'),
  paths: () => import('../team/path-reservation.ts'),
  reserve: () => import('../team/reserve.ts'),
  reservation: () => import('../team/reservation.ts'),
  lines: () => import('../session/reserved-paths.ts'),
};

const globs = z.array(z.string()).max(50).optional();
const MINUTE_MS = 60_000;
/** A year. */
const MAX_MINUTES = 527_040;

/** Where the caller works: its session's directory, or that of this process. */
function placeOf({ session }: Caller): string {
  return session?.working_dir ?? process.cwd();
}

const reserve = tool(
  'reserve',
  'Tell the others which files you are about to change (`paths`, as advice to them), or have a branch for yourself alone (`thread`).',
  {
    paths: globs.describe('patterns relative to the top of the repository, as in src/auth/** (* within a folder)'),
    reason: z.string().optional().describe('with paths: one line that the others see'),
    minutes: z.number().int().positive().max(MAX_MINUTES).optional().describe('with paths: ends by itself after this'),
    thread: z.string().optional().describe('a branch; it is made if there is none'),
    anchor: z.string().optional().describe('with thread: the commit it starts from (default: HEAD)'),
    task: z.string().optional().describe('with thread: what for'),
  },
  async (deps, caller, { paths, thread, reason, minutes, ...more }) => {
    if ((paths === undefined) === (thread === undefined)) throw oneOf('Give either paths or thread.');
    if (thread !== undefined) return reserveThread(deps, caller, { thread, ...more });
    const { root, main_root } = await (await lazy.anchor()).repositoryAt(placeOf(caller));
    const { reservePaths } = await lazy.paths();
    const for_ms = minutes === undefined ? null : minutes * MINUTE_MS;
    const request = { repo_root: main_root, root, globs: paths ?? [], reason, for_ms };
    const { rows, overlaps } = await reservePaths(deps, caller, request);
    const { reservedLine } = await lazy.lines();
    const others = overlaps.map(reservedLine).join('\n');
    const warning = others === '' ? '' : `\nOthers have reserved some of them; write to them first:\n${others}`;
    return `Reserved ${rows.map((row) => `${row.glob} (${row.id})`).join(', ')}.${warning}`;
  },
);

async function reserveThread(
  deps: Deps,
  caller: Caller,
  request: { thread: string; anchor?: string | undefined; task?: string | undefined },
): Promise<string> {
  const act = (await lazy.reserve()).reserve;
  const { probeHarness } = await import('../model/reservation-probe.ts');
  const pid = caller.session === null ? process.ppid : null;
  let answer: AgentReservationOutput | null = null;
  const place = { cwd: placeOf(caller), pid, lease_ms: null, probe: probeHarness(deps.env, []), keys: {} };
  await act(deps, caller, { ...request, ...place }, async (reservation) => {
    answer = reservation;
  });
  return JSON.stringify({ reservation: answer });
}

const release = tool(
  'release',
  'Take back what you reserved: files by id or pattern (`paths`), or your thread (`status`).',
  {
    paths: globs.describe('ids or patterns that reserve answered'),
    status: z.enum(['complete', 'abandoned']).optional().describe('of a thread: how it ended'),
    session: z.string().optional().describe('of a thread: its session_id, if you hold several'),
    token: z.string().optional().describe('of a thread that another reserved: its reservation_token'),
  },
  async (deps, caller, { paths, status, session, token }) => {
    if ((paths === undefined) === (status === undefined)) throw oneOf('Give either paths or status.');
    if (status !== undefined) {
      const verbs = await lazy.reservation();
      const named = await verbs.namedReservation(deps, caller, { session, token });
      const { row } = await verbs.release(deps, caller, named, status);
      return `${row.thread} is released (${row.status}).`;
    }
    const { root, main_root } = await (await lazy.anchor()).repositoryAt(placeOf(caller));
    const { releasePaths } = await lazy.paths();
    const rows = await releasePaths(deps, caller, { repo_root: main_root, root, words: paths ?? [] });
    return `Released ${rows.map((row) => row.glob).join(', ')}.`;
  },
);

const reservations = tool(
  'reservations',
  'Which files and branches of this repository are reserved, and by whom.',
  {},
  async (deps, caller) => {
    const { main_root: repo_root } = await (await lazy.anchor()).repositoryAt(placeOf(caller));
    const { listPathReservations } = await import('../store/path-reservation.ts');
    const { listReservations } = await import('../store/reservation-list.ts');
    const now = deps.clock.now();
    const paths = await listPathReservations(deps.store, { repo_root, now, limit: 100 });
    const { rows } = await listReservations(deps.store, { repo_root, active_only: true }, now);
    const { reservedLine } = await lazy.lines();
    const lines = [
      ...paths.map((row) => `${reservedLine(row)} (${row.id})`),
      ...rows
        .slice(0, 100)
        .map((row) => `- branch ${row.thread} by ${row.owner_session_id ?? row.session_id} (${row.session_id})`),
    ];
    return lines.join('\n') || 'Nothing is reserved.';
  },
);

function oneOf(message: string): AppError {
  return new AppError('usage', 'input_invalid', message, { preserved: 'nothing was changed' });
}

/** What the verbs of the same names do, with the same rights. */
export const RESERVATION_TOOLS: readonly Tool[] = [reserve, release, reservations];
