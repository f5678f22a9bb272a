import type { Command } from 'commander';
import { DEFAULT_CONFIG } from '../../model/config.ts';
import { AppError } from '../../model/error.ts';
import type { SessionRow } from '../../model/session.ts';
import type { Deps } from '../../session/deps.ts';
import { endTree } from '../../session/end-tree.ts';
import { type Caller, callerOf } from '../../session/identity.ts';
import { demandReach } from '../../session/reach.ts';
import { demand, demandPerson } from '../../session/rights.ts';
import { type Ended, stopSession } from '../../store/control.ts';
import { type Halting, haltAll } from '../../store/halt.ts';
import { getTurn, openTurns } from '../../store/turn.ts';
import { systemClock } from '../../sys/clock.ts';
import type { Context } from '../context.ts';
import { outcomeLine, targets } from '../control.ts';
import { printJson, safe } from '../output.ts';
import { haltJson, haltLines } from '../render-halt.ts';
import { examples, exitCode, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Options {
  all?: boolean;
  strict?: boolean;
  reason?: string;
  cleanWorktree?: boolean;
}

interface Stopped {
  row: SessionRow;
  ended: Ended;
  process_gone: boolean;
  /** With `--clean-worktree`: why that stays; null when it is gone, or there was none. */
  worktree_kept: string | null;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('[session...]', 'id, unique prefix, name, or latest')
      .option('--all', 'every live session of every repository, and nothing starts again: the emergency stop')
      .option('--strict', 'fail for sessions that had already ended')
      .option('--reason <text>', 'kept with the session')
      .option('--clean-worktree', 'remove its worktree as well; refused when that holds uncommitted or unmerged work')
      .action(async (wanted: string[], options: Options) => {
        exitCode.code = await run(context, wanted, options);
      });
    examples(command, ['drover stop build-1', 'drover stop --all', 'drover stop latest --reason "wrong base"']);
    command.addHelpText(
      'after',
      `
--all by a person is the emergency stop of everything in this DROVER_HOME, whatever the repository you are in: in one
transaction every live session is stopped and every plan is paused, and from then on no plan, schedule, request, look of
the watchdog or failed turn starts anything by itself, and no session may sling, until a person says drover resume --all.
What a person slings starts all the same.
Exit codes: 0 ok, 1 processes or a worktree are left, 2 usage, 3 refused, 4 no such session.`,
    );
  },
};

async function run(context: Context, wanted: string[], options: Options): Promise<number> {
  const deps = await context.deps().catch((error: unknown) => endUnopened(context, wanted, options, error));
  const { caller, rows } = await allowedTargets(context, deps, wanted, options);
  if (options.strict) refuseEnded(rows.filter(({ ended_at, state }) => ended_at !== null && state !== 'zombie'));
  const { cleanStopped, refuseWork } = options.cleanWorktree
    ? await import('../../session/worktree-stop.ts')
    : NO_WORKTREES;
  await refuseWork(rows);
  // Every state is durable before the first process is waited for: an emergency stop holds whatever comes after.
  const by = options.all === true && caller.session === null ? caller.name : null;
  const halting =
    by === null ? null : await halt(deps, by, options.reason).catch((error) => endUnrecorded(deps, rows, error));
  const ended = halting?.stopped ?? (await stopEach(deps, rows, options.reason));
  const stopped = ended.map(
    (each): Stopped => ({ row: each.row, ended: each, process_gone: true, worktree_kept: null }),
  );
  if (stopped.some((one) => one.ended.open_turn !== null)) await endProcesses(deps, stopped);
  for (const one of stopped) one.worktree_kept = await cleanStopped(deps, one.row.id);
  if (context.globals.json)
    printJson({ ...haltJson(halting), stopped: stopped.map((one) => outcomeJson(one, options)) });
  else tell(stopped, halting, deps.clock.now());
  // Who ended between the look and the stop.
  if (options.strict) refuseEnded(stopped.filter((one) => !one.ended.changed).map(({ row }) => row));
  return stopped.every(({ process_gone, worktree_kept }) => process_gone && worktree_kept === null) ? 0 : 1;
}

/** What would remove worktrees loads git and all that judges work: an emergency stop has no use for it. */
const NO_WORKTREES = { refuseWork: async () => {}, cleanStopped: async () => null };

async function halt({ store, clock }: Deps, by: string, reason = 'operator'): Promise<Halting> {
  return haltAll(store, { by, reason, now: clock.now() });
}

async function stopOne({ store, clock }: Deps, { id }: SessionRow, reason = 'operator'): Promise<Ended> {
  return stopSession(store, { session_id: id, actor: 'cli', reason, now: clock.now() });
}

async function stopEach(deps: Deps, rows: readonly SessionRow[], reason: string | undefined): Promise<Ended[]> {
  const ended: Ended[] = [];
  for (const row of rows)
    ended.push(await stopOne(deps, row, reason).catch((error: unknown) => endUnrecorded(deps, rows, error)));
  return ended;
}

function outcomeJson({ row, ended, process_gone, worktree_kept }: Stopped, options: Options): Record<string, unknown> {
  return {
    id: row.id,
    name: row.name,
    changed: ended.changed,
    prev: ended.prev,
    state: ended.row.state,
    was_zombie: ended.prev === 'zombie',
    process_gone,
    worktree_removed: options.cleanWorktree === true && row.worktree_path !== null && worktree_kept === null,
    worktree_kept,
  };
}

function tell(stopped: readonly Stopped[], halting: Halting | null, now: number): void {
  for (const { row, ended, process_gone, worktree_kept } of stopped)
    console.log(
      `${outcomeLine(row, ended)}${process_gone ? '' : '; its processes are NOT all gone, see `drover ps`'}${worktree_kept === null ? '' : `; its worktree stays: ${safe(worktree_kept)}`}`,
    );
  if (stopped.length === 0) console.log('nothing is live');
  if (halting !== null) for (const line of haltLines(halting, now)) console.log(line);
}

async function allowedTargets(
  context: Context,
  deps: Deps,
  wanted: string[],
  { all }: Options,
): Promise<{ caller: Caller; rows: SessionRow[] }> {
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  if (all) demandPerson(caller, 'stop every session');
  const rows = await targets(context, deps, wanted, all === true);
  await demandReach(deps, caller, 'stop', rows);
  return { caller, rows };
}

/** The database cannot even be opened for writing: it is read, and what it says is running is ended all the same. */
async function endUnopened(context: Context, wanted: string[], options: Options, error: unknown): Promise<never> {
  if (!isStoreTrouble(error)) throw error;
  const store = await context.reader().catch(() => null);
  if (store === null) throw error;
  const { env, home, package_dir } = context;
  const config_for = async (root: string) => (await import('../../session/config.ts')).loadConfig(env, root);
  const deps: Deps = { clock: systemClock, store, home, env, package_dir, config_for };
  const { rows } = await allowedTargets(context, deps, wanted, options);
  return endUnrecorded(deps, rows, error);
}

/**
 * The store takes no writes (a full disk, most likely the work of one of these sessions): the processes are ended all the
 * same. Throws the store's error, which now says so.
 */
async function endUnrecorded(deps: Deps, rows: readonly SessionRow[], error: unknown): Promise<never> {
  if (!isStoreTrouble(error)) throw error;
  const wanted = new Set(rows.map((row) => row.id));
  const open = (await openTurns(deps.store)).filter(({ session }) => wanted.has(session.id));
  const trees = await Promise.all(
    open.map(async ({ session, turn }) => endTree(deps, turn, await graceOf(deps, session))),
  );
  const gone = trees.filter((tree) => tree.proven_empty).length;
  throw new AppError(
    error.kind,
    error.code,
    `${error.message} ${gone} of ${open.length} running turns were ended all the same.`,
    {
      ...error.details,
      preserved: 'the new states could not be recorded: repeat the stop when the store can be written',
    },
  );
}

function isStoreTrouble(error: unknown): error is AppError {
  return error instanceof AppError && (error.kind === 'unavailable' || error.kind === 'parked');
}

/** Throws `already_ended` (3). */
function refuseEnded(ended: readonly SessionRow[]): void {
  if (ended.length === 0) return;
  throw new AppError('refused', 'already_ended', `Already ended: ${ended.map(({ name }) => name).join(', ')}.`);
}

const SUPERVISOR_MS = 5_000;

/** The supervisor ends them; when it does not in time, this process does: a stop must not depend on a healthy daemon. */
async function endProcesses(deps: Deps, stopped: Stopped[]): Promise<void> {
  const ring = wake(deps).catch((error: unknown) => {
    if (!(error instanceof AppError)) throw error;
  });
  const patience = new AbortController();
  await Promise.race([ring, deps.clock.sleep(SUPERVISOR_MS, patience.signal)]);
  patience.abort();
  const deadline = deps.clock.monotonic() + SUPERVISOR_MS;
  await Promise.all(
    stopped.map(async (one) => {
      if (one.ended.open_turn === null) return;
      for (;;) {
        const turn = await getTurn(deps.store, one.row.id, one.ended.open_turn);
        if (turn === null || turn.ended_at !== null) return;
        if (deps.clock.monotonic() > deadline) {
          one.process_gone = (await endTree(deps, turn, await graceOf(deps, one.row))).proven_empty;
          return;
        }
        await deps.clock.sleep(15);
      }
    }),
  );
}

/** Nor must a stop depend on settings that can be read. */
async function graceOf(deps: Deps, row: SessionRow): Promise<number> {
  try {
    return (await deps.config_for(row.repo_root)).turn.sigkill_delay_ms;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return DEFAULT_CONFIG.turn.sigkill_delay_ms;
  }
}
