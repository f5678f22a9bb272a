import type { Command } from 'commander';
import { parseDuration } from '../../model/duration.ts';
import { AppError } from '../../model/error.ts';
import { probeHarness } from '../../model/reservation-probe.ts';
import { callerOf } from '../../session/identity.ts';
import { systemClock } from '../../sys/clock.ts';
import { liveness } from '../../sys/identity.ts';
import { repositoryAt } from '../../team/anchor.ts';
import { reservePaths } from '../../team/path-reservation.ts';
import { reserve } from '../../team/reserve.ts';
import type { Context } from '../context.ts';
import { paint, printJson } from '../output.ts';
import { parentArgv } from '../parent-process.ts';
import { pathReservationJson, pathReservationLine, printEnvelope } from '../render-reservation.ts';
import { ReaderGone } from '../stream-out.ts';
import { examples, type Verb } from '../verb.ts';

interface Options {
  thread?: string;
  anchor?: string;
  task?: string;
  holdForPid?: string;
  lease?: string;
  client?: string;
  actor?: string;
  parentActor?: string;
  instance?: string;
  path?: string[];
  reason?: string;
  for?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    const collect = (value: string, before: string[] = []) => [...before, value];
    command
      .option('--thread <branch>', 'the line of work to have alone; its branch is made if there is none')
      .option('--anchor <commit>', 'where it starts (default: HEAD)')
      .option('--task <text>', 'what for')
      .option('--hold-for-pid <pid>', 'the owner: the reservation lives as long as this process (default: our parent)')
      .option('--lease <duration>', 'instead, or beside it: alive until no heartbeat came for so long, e.g. 10m')
      .option('--client <id>', 'your own name for this instance: it finds its reservation of the thread again')
      .option('--actor <key>', "the harness's key of the agent, e.g. codex:thread:thr_1")
      .option('--parent-actor <key>', "the harness's key of the agent that started it")
      .option('--instance <key>', "the harness's key of the instance, e.g. the path of its transcript")
      .option('--path <glob>', 'reserve files instead, as advice to others; may be repeated', collect)
      .option('--reason <text>', 'with --path: shown to the others')
      .option('--for <duration>', 'with --path: ends by itself after this')
      .action((options: Options) => run(context, options));
    examples(command, [
      'drover reserve --thread feature/login --task "rate limits" --hold-for-pid $$',
      'drover reserve --thread feature/login --lease 10m   # and `drover heartbeat` within every 10 minutes',
      "drover reserve --path 'src/auth/**' --reason 'moving the login' --for 2h",
    ]);
    command.addHelpText(
      'after',
      `
A thread: prints one line of JSON, {"reservation":{…}}, with or without --json; its reservation_token is shown only here.
Files: \`*\` is any name within a folder, \`**\` any across folders. Others see it in their briefs and in \`drover status\`.
Exit codes: 0 reserved, 2 usage, 3 somebody has the thread or it is elsewhere, 4 no such commit.`,
    );
  },
};

async function run(context: Context, options: Options): Promise<void> {
  const { thread, path } = options;
  if ((thread === undefined) === (path === undefined))
    throw new AppError('usage', 'usage', 'Give either --thread or --path.', { preserved: 'nothing was reserved' });
  if (thread === undefined) await reserveFiles(context, path ?? [], options);
  else await reserveThread(context, thread, options);
}

async function reserveThread(context: Context, thread: string, options: Options): Promise<void> {
  if (options.reason !== undefined || options.for !== undefined)
    throw new AppError('usage', 'usage', '--reason and --for belong to --path; for a thread use --task and --lease.');
  const lease_ms = options.lease === undefined ? null : duration(options.lease);
  const held = options.holdForPid === undefined ? null : pidOf(context, options.holdForPid);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  // The shell of a session's command is gone in a moment; its session ends its reservations.
  const parent = caller.session === null && lease_ms === null ? process.ppid : null;
  const { anchor, task, client, actor, parentActor, instance } = options;
  const request = {
    ...{ cwd: context.cwd, thread, anchor, task, pid: held ?? parent, lease_ms },
    probe: probeHarness(context.env, parentArgv()),
    keys: {
      client_instance_id: client,
      native_actor_key: actor,
      native_parent_actor_key: parentActor,
      native_instance_key: instance,
    },
  };
  try {
    await reserve(deps, caller, request, (reservation) => printEnvelope(context, reservation));
  } catch (error) {
    if (!(error instanceof ReaderGone)) throw error;
    throw new AppError('failed', 'output_closed', 'Nobody reads the answer, so nobody would have the token.', {
      preserved: 'the reservation was taken back',
    });
  }
}

function pidOf(context: Context, text: string): number {
  const pid = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(pid) || pid === 0)
    throw new AppError('usage', 'usage', `--hold-for-pid wants the number of a process, not ${JSON.stringify(text)}.`);
  if (liveness({ pid }) === 'dead' && !context.globals.quiet)
    console.error(paint('yellow', `warning: there is no process ${pid}: whoever comes next takes the thread`));
  return pid;
}

function duration(text: string): number {
  const ms = /^\d+(s|m|h|d)$/.test(text) ? parseDuration(text) : 0;
  if (ms > 0 && ms <= LONGEST_MS) return ms;
  throw new AppError(
    'usage',
    'usage',
    `Not a duration: ${JSON.stringify(text)}. Use 90s, 45m, 2h, 1d, at most a year.`,
  );
}

const LONGEST_MS = 366 * 86_400_000;

async function reserveFiles(context: Context, globs: string[], options: Options): Promise<void> {
  const { reason } = options;
  const foreign = ['anchor', 'task', 'holdForPid', 'lease', 'client', 'actor', 'parentActor', 'instance'] as const;
  if (foreign.some((name) => options[name] !== undefined))
    throw new AppError('usage', 'usage', 'With --path only --reason and --for go together.');
  const for_ms = options.for === undefined ? null : duration(options.for);
  const { root, main_root } = await repositoryAt(context.cwd);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const { rows, overlaps } = await reservePaths(deps, caller, { repo_root: main_root, root, globs, reason, for_ms });
  if (context.globals.json)
    return printJson({
      path_reservations: rows.map(pathReservationJson),
      overlaps: overlaps.map(pathReservationJson),
    });
  const now = systemClock.now();
  for (const row of rows) console.log(`${row.id}: ${pathReservationLine(row, now)}`);
  for (const row of overlaps) console.error(paint('yellow', `also reserved: ${pathReservationLine(row, now)}`));
}
