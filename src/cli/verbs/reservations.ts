import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { checkReservationId } from '../../model/reservation-machine.ts';
import { reservationOutput } from '../../model/reservation-output.ts';
import { callerOf } from '../../session/identity.ts';
import { ownerProbe } from '../../session/owner-probe.ts';
import { listContextQueries } from '../../store/context-query.ts';
import { listPathReservations } from '../../store/path-reservation.ts';
import { pruneExpired, reapDead } from '../../store/reservation.ts';
import type { Reservations } from '../../store/reservation-list.ts';
import { getSession } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
import { type Lookup, lookUpReservations, verify } from '../../team/lookup.ts';
import { namedReservation, noteQuery, remove } from '../../team/reservation.ts';
import type { Context } from '../context.ts';
import { paint, printJson, safe } from '../output.ts';
import { pathReservationJson, pathReservationLine, renderReservations } from '../render-reservation.ts';
import { lookUp } from '../sessions.ts';
import { examples, type Verb } from '../verb.ts';

interface Options {
  thread?: string;
  aliveOnly?: boolean;
  path?: string;
  actor?: string;
  client?: string;
  instance?: string;
  session?: string;
  all?: boolean;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    listCommand(command, context);
    command
      .command('paths')
      .description('files that are reserved, by whom and until when')
      .option('--all', 'of every repository')
      .action((options: { all?: boolean }) => paths(context, options.all === true));
    command
      .command('delete')
      .description('remove the record of one that has ended')
      .argument('<reservation>', 'its session_id')
      .option('--token <token>', 'the reservation_token that reserve printed')
      .option('--force', 'also while it is active')
      .action((id: string, options: { token?: string; force?: boolean }) => drop(context, id, options));
    command
      .command('note')
      .description('for agents: note what was looked up; does nothing unless the reservation is active')
      .argument('<file>', 'the path that was asked about')
      .option('--scope <text>', 'what in it, e.g. symbol:parse_manifest')
      .option('--session <id>', "the reservation's session_id (default: your session's only one)")
      .action((path: string, options: { scope?: string; session?: string }) => note(context, path, options));
    command
      .command('notes')
      .description('what an agent has looked up, in order')
      .argument('<reservation>', 'its session_id')
      .action((id: string) => notes(context, id));
    examples(command, [
      'drover reservations',
      'drover reservations --thread feature/login --json',
      'drover reservations --alive-only',
      'drover reservations --path . --actor codex:thread:thr_1',
      'drover reservations paths',
    ]);
    command.addHelpText(
      'after',
      '\nExit codes: 0 ok, 2 usage, 3 refused (delete of an active one), 4 no such session.',
    );
  },
};

function listCommand(command: Command, context: Context): void {
  command
    .command('list', { isDefault: true })
    .description('who has which thread, newest first')
    .option('--thread <branch>', 'of this thread')
    .option('--alive-only', 'only active ones; those of dead owners are marked abandoned first')
    .option('--path <dir>', 'active ones of this checkout')
    .option('--actor <key>', "active ones of the agent with this key of the harness's")
    .option('--client <id>', 'active ones of this instance')
    .option('--instance <key>', "active ones of the instance with this key of the harness's")
    .option('--session <session>', 'active ones of a session of drover')
    .option('--all', 'of every repository')
    .action((options: Options) => list(context, options));
}

async function list(context: Context, options: Options): Promise<void> {
  const repo_root = await repositoryOf(context, options.all === true);
  const now = systemClock.now();
  const alive_only = options.aliveOnly === true;
  const reader = await context.reader();
  const { thread = null } = options;
  let found: Reservations = { rows: [], corrupt: [], expired: 0 };
  if (reader !== null) {
    const query = await queryOf(context, options, repo_root);
    const reaped = alive_only ? await reap(context, { repo_root, thread: options.thread, now }) : 0;
    found = await lookUpReservations(reader, query, now);
    if (found.expired > 0) await pruneExpired((await context.deps()).store, now);
    if (reaped > 0 && !context.globals.quiet) console.error(`${reaped} of dead owners marked abandoned`);
  }
  for (const { session_id, problem } of found.corrupt)
    console.error(
      paint('yellow', `warning: the record ${safe(session_id)} cannot be used: ${problem}; see drover doctor`),
    );
  const dead = deadOwners(found.rows, now);
  if (!context.globals.json) {
    return console.log(renderReservations(found.rows, { names: await namesOf(reader, found.rows), dead }));
  }
  const verification = await verify(context.cwd, found.rows, [...dead]);
  printJson({ reservations: found.rows.map((row) => reservationOutput(row, null)), alive_only, thread, verification });
}

/** Ids of active ones whose owner is dead: nobody has marked them yet (H-31). */
function deadOwners(rows: Reservations['rows'], now: number): Set<string> {
  const life = ownerProbe(now);
  return new Set(rows.flatMap((row) => (row.status === 'active' && life(row) === 'dead' ? [row.session_id] : [])));
}

/** Names of the sessions that have them, by id. */
async function namesOf(reader: Store | null, rows: Reservations['rows']): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  for (const id of new Set(rows.flatMap(({ owner_session_id }) => owner_session_id ?? []))) {
    const session = reader === null ? null : await getSession(reader, id);
    if (session !== null) names.set(id, session.name);
  }
  return names;
}

/** Somebody has to be able to write only if there is somebody to be cleared away. */
async function reap(
  context: Context,
  of: { repo_root: string | null; thread: string | undefined; now: number },
): Promise<number> {
  const { store } = await context.deps();
  return reapDead(store, { ...of, probe: ownerProbe(of.now) });
}

async function queryOf(context: Context, options: Options, repo_root: string | null): Promise<Lookup> {
  const { thread, path, actor, client, instance, session } = options;
  const owner =
    session === undefined ? undefined : (await lookUp(context, await context.reader(), session, 'newest')).id;
  const keys = [path, actor, client, instance, session];
  return {
    ...{ repo_root, thread, path: path === undefined ? undefined : absolute(context, path) },
    active_only: options.aliveOnly === true || keys.some((key) => key !== undefined),
    native_actor_key: actor,
    client_instance_id: client,
    native_instance_key: instance,
    owner_session_id: owner,
  };
}

function absolute({ cwd }: Context, path: string): string {
  return path.startsWith('/') ? path : `${cwd}/${path}`;
}

async function repositoryOf(context: Context, all: boolean): Promise<string | null> {
  const repo_root = all ? null : await context.repoRoot();
  if (all || repo_root !== null) return repo_root;
  throw new AppError('usage', 'not_a_repository', `Not inside a git repository: ${context.cwd}`, {
    hint: 'Go into one, or use --all for every repository.',
  });
}

async function paths(context: Context, all: boolean): Promise<void> {
  const repo_root = await repositoryOf(context, all);
  const now = systemClock.now();
  const store = await context.reader();
  const rows = store === null ? [] : await listPathReservations(store, { repo_root, now });
  if (context.globals.json) return printJson({ path_reservations: rows.map(pathReservationJson) });
  if (rows.length === 0) return console.log('no files are reserved');
  for (const row of rows) console.log(`${row.id}: ${pathReservationLine(row, now)}`);
}

async function drop(context: Context, id: string, options: { token?: string; force?: boolean }): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const named = await namedReservation(deps, caller, { session: id, token: options.token });
  await remove(deps, caller, named, options.force === true);
  if (context.globals.json) return printJson({ session_id: named.session_id, deleted: true });
  console.log(`${named.session_id}: deleted`);
}

async function note(context: Context, path: string, options: { scope?: string; session?: string }): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const { session_id } = await namedReservation(deps, caller, options);
  const noted = await noteQuery(deps, session_id, { path, scope: options.scope ?? null });
  if (context.globals.json) printJson({ session_id, noted });
}

async function notes(context: Context, id: string): Promise<void> {
  const session_id = checkReservationId(id);
  const store = await context.reader();
  const rows = store === null ? [] : await listContextQueries(store, session_id);
  if (context.globals.json) {
    printJson({ queries: rows.map(({ path, scope, queried_at }) => ({ path, scope, queried_at })) });
    return;
  }
  if (rows.length === 0) console.log('nothing was noted');
  for (const { path, scope } of rows) console.log(`${safe(path)}${scope === null ? '' : `  ${safe(scope)}`}`);
}
