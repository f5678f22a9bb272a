import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { AppError } from '../../model/error.ts';
import { NAME } from '../../model/id.ts';
import { CATCH_UPS, type CatchUp, OVERLAPS, type Overlap, type ScheduleRow } from '../../model/schedule.ts';
import { parseCron, preview } from '../../plan/cron.ts';
import { draftSchedule, oddTime, type ScheduleTarget, startOf } from '../../plan/schedule.ts';
import type { Deps } from '../../session/deps.ts';
import { type Caller, callerOf } from '../../session/identity.ts';
import { demandPerson } from '../../session/rights.ts';
import {
  findSchedule,
  insertSchedule,
  listScheduleRuns,
  listSchedules,
  removeSchedule,
  runSchedule,
  setScheduleEnabled,
} from '../../store/schedule.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
import { readTextIfExists } from '../../sys/read-text.ts';
import { announce } from '../announce.ts';
import type { Context } from '../context.ts';
import { paint, printJson, safe } from '../output.ts';
import { addVariable, unusedVariables } from '../plan-file.ts';
import { readText } from '../read-text.ts';
import { warnHalt } from '../render-halt.ts';
import { renderRuns, renderSchedule, renderSchedules, renderTimes, wallText } from '../render-schedule.ts';
import { examples, type Verb } from '../verb.ts';

interface AddOptions {
  cron: string;
  tz: string;
  plan?: string;
  name?: string;
  harness?: string;
  profile?: string;
  role?: string;
  worktree?: boolean;
  label?: string;
  group?: string;
  var?: string[];
  overlap: Overlap;
  catchUp: CatchUp;
  catchUpMax: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    configureAdd(command, context);
    command
      .command('list', { isDefault: true })
      .description('every schedule, by name')
      .action(() => list(context));
    command
      .command('show')
      .description('one schedule and what became of its last due times')
      .argument('<name>', 'name or id')
      .action((name: string) => show(context, name));
    command
      .command('runs')
      .description('what became of its due times, newest first, with the reasons of those that started nothing')
      .argument('<name>', 'name or id')
      .option('--limit <n>', 'at most this many', '50')
      .action((name: string, options: { limit: string }) => runs(context, name, options.limit));
    command
      .command('run')
      .description('start it now, beside its due times')
      .argument('<name>', 'name or id')
      .action((name: string) => runNow(context, name));
    command
      .command('preview')
      .description('the next times of an expression or a schedule; what the change of the clock does to them')
      .argument('<expression>', 'a cron expression in quotes, or the name of a schedule')
      .option('--tz <zone>', 'IANA time zone (default: UTC, or that of the schedule)')
      .option('--count <n>', 'how many', '8')
      .action((word: string, options: { tz?: string; count: string }) => showTimes(context, word, options));
    command
      .command('enable')
      .description('switch it on again; its failures are forgotten')
      .argument('<name>', 'name or id')
      .action((name: string) => enable(context, name, true));
    command
      .command('disable')
      .description('switch it off; what it started goes on')
      .argument('<name>', 'name or id')
      .action((name: string) => enable(context, name, false));
    command
      .command('rm')
      .description('remove it; what it started goes on')
      .argument('<name>', 'name or id')
      .action((name: string) => remove(context, name));
    examples(command, [
      'drover schedule add --cron "30 2 * * 1-5" --tz Europe/Berlin --name deps "update the dependencies"',
      'drover schedule add --cron "0 22 * * *" --plan night.yaml --overlap queue',
      'drover schedule add --cron "0 3 * * 6" --plan deps.yaml --var target=main --label shop',
      'drover schedule preview "30 2 * * *" --tz Europe/Berlin',
      'drover schedule run deps',
      'drover schedule runs deps',
    ]);
    command.addHelpText(
      'after',
      `
Five fields: minute hour day month weekday (0 or 7 is Sunday); six: seconds first; a seventh says which years. A time that
the clock jumps over is due behind the gap, one that comes twice the first time.
Each due time starts once, whoever looks and whatever is killed. Times that passed while nobody was there: one makes up for
all (latest), none, or the last of them (all). What cannot start is not started again for that time: the next due time
tries, those that come soon after a failure are skipped. After five failures in a row the schedule is switched off, with a
mail to the operator.
Exit codes: 0 ok (rm also when there was none), 2 usage or a mistake in expression, zone, task or plan, 3 refused, 4 no
such schedule.`,
    );
  },
};

function configureAdd(command: Command, context: Context): void {
  command
    .command('add')
    .description('store a schedule for a task or for the file of a plan')
    .argument('[task]', 'the task; - reads standard input, @FILE a file')
    .requiredOption('--cron <expression>', 'five to seven fields, in quotes')
    .option('--tz <zone>', 'IANA time zone', 'UTC')
    .option('--plan <file>', 'start this plan; read anew each time')
    .option('--var <name=value>', 'value of a plain hole of the plan, any number of times', collect)
    .option('--name <name>', 'a name to address it by')
    .option('--harness <id>', 'claude, codex, gemini, opencode, rehearsal, auto, or one of the config')
    .option('--profile <name>', 'launch settings from the config')
    .option('--role <name>', 'a page in agents/')
    .option('--worktree', 'work in a worktree and branch of its own')
    .option('--no-worktree', 'work in the directory itself')
    .option('--label <label>', 'project label (default: the name of the repository)')
    .option('--group <label>', 'group label')
    .addOption(new Option('--overlap <how>', 'when the one before has not ended').choices(OVERLAPS).default('skip'))
    .addOption(new Option('--catch-up <how>', 'about times that were missed').choices(CATCH_UPS).default('latest'))
    .option('--catch-up-max <n>', 'of all: at most this many', '3')
    .action((task: string | undefined, options: AddOptions) => add(context, task, options));
}

function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

async function add(context: Context, task: string | undefined, options: AddOptions): Promise<void> {
  const target = await targetOf(context, task, options);
  const catch_up_max = wholeNumber('--catch-up-max', options.catchUpMax, 100);
  const { deps, caller } = await enter(context);
  const draft = await draftSchedule(deps, {
    ...{ cron: options.cron, timezone: options.tz, cwd: context.cwd, target, name: options.name },
    ...{ harness: options.harness, profile: options.profile, role: options.role, worktree: options.worktree },
    ...{
      project: options.label,
      group: options.group,
      overlap: options.overlap,
      catch_up: options.catchUp,
      catch_up_max,
    },
  });
  const schedule = await insertSchedule(deps.store, draft, deps.clock.now());
  await announce(deps, caller);
  if (context.globals.json) return printJson({ schedule });
  if (context.globals.quiet) return console.log(schedule.id);
  console.log(`${schedule.id}  ${paint('bold', safe(schedule.name))}  ${firstText(schedule)}`);
}

function firstText({ next_run_at, timezone }: ScheduleRow): string {
  return next_run_at === null ? 'never due' : `first due ${wallText(timezone, next_run_at)} ${timezone}`;
}

async function targetOf(context: Context, task: string | undefined, options: AddOptions): Promise<ScheduleTarget> {
  if ((task === undefined) === (options.plan === undefined))
    throw usage('Give either a task or --plan FILE.', 'A task may be - for standard input, or @FILE.');
  const variables = (options.var ?? []).reduce((all, pair) => addVariable(pair, all), {} as Record<string, string>);
  if (options.plan === undefined) {
    if (options.var !== undefined) throw usage('--var is for a plan.', 'Write the values into the task.');
    return { task: await readText(task ?? '') };
  }
  if ([options.harness, options.profile, options.role, options.worktree].some((word) => word !== undefined))
    throw usage('A plan says itself how its steps are started.', 'Write harness, profile, role and worktree into it.');
  const plan_file = resolve(context.cwd, options.plan);
  const text = readTextIfExists(plan_file);
  if (text === null) throw usage(`There is no file ${plan_file}.`, 'Name the file of a plan.');
  for (const unused of unusedVariables(text, variables))
    if (!context.globals.quiet) console.error(paint('yellow', `note: no hole asks for the variable ${safe(unused)}`));
  return { plan_file, text, variables };
}

function usage(message: string, hint: string): AppError {
  return new AppError('usage', 'usage', message, { hint, preserved: 'nothing was stored' });
}

function wholeNumber(option: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new AppError(
    'usage',
    'usage',
    `${option} wants a whole number from 1 to ${most}, not ${JSON.stringify(text)}.`,
  );
}

/**
 * For what changes something. What a schedule starts is nobody's child, has commands of its own and outlives who asked
 * for it: a session that could make one would be free of its run, its budget and its confinement.
 */
async function enter(context: Context): Promise<{ deps: Deps; caller: Caller }> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demandPerson(caller, 'change or run schedules');
  return { deps, caller };
}

async function find(store: Store | null, name: string): Promise<ScheduleRow> {
  const row = store === null ? null : await findSchedule(store, name);
  if (row === null) throw missing(name);
  return row;
}

function missing(name: string): AppError {
  return new AppError('not_found', 'schedule_not_found', `There is no schedule called ${name}.`, {
    hint: '`drover schedule list` shows all.',
  });
}

async function list(context: Context): Promise<void> {
  const store = await context.reader();
  const schedules = store === null ? [] : await listSchedules(store);
  if (context.globals.json) return printJson({ schedules });
  console.log(renderSchedules(schedules, systemClock.now()));
}

async function show(context: Context, name: string): Promise<void> {
  const store = await context.reader();
  const schedule = await find(store, name);
  const last = store === null ? [] : await listScheduleRuns(store, schedule.id, 10);
  if (context.globals.json) return printJson({ schedule, runs: last });
  console.log(renderSchedule(schedule, last, systemClock.now()));
}

async function runs(context: Context, name: string, wanted: string): Promise<void> {
  const limit = wholeNumber('--limit', wanted, 100_000);
  const store = await context.reader();
  const schedule = await find(store, name);
  const rows = store === null ? [] : await listScheduleRuns(store, schedule.id, limit);
  if (context.globals.json) return printJson({ runs: rows });
  console.log(renderRuns(rows, schedule.timezone));
}

async function runNow(context: Context, name: string): Promise<void> {
  const { deps, caller } = await enter(context);
  const schedule = await find(deps.store, name);
  const start = await startOf(deps, schedule, readTextIfExists);
  const fired = await runSchedule(deps.store, { id: schedule.id, start, actor: 'cli', now: deps.clock.now() });
  if (fired === null) throw missing(name);
  await warnHalt(context, deps.store);
  await announce(deps, caller);
  const { session, plan_id, run } = fired;
  if (context.globals.json) return printJson({ run, session, plan_id });
  const what = session === null ? `plan ${plan_id}` : `${session.id}  ${safe(session.name)}, queued`;
  console.log(`${paint('bold', safe(schedule.name))}: started ${what}`);
}

async function showTimes(context: Context, word: string, options: { tz?: string; count: string }): Promise<void> {
  const count = wholeNumber('--count', options.count, 1_000);
  const row = NAME.test(word) ? await find(await context.reader(), word) : null;
  const cron = (row?.cron ?? word).trim();
  const timezone = options.tz ?? row?.timezone ?? 'UTC';
  const now = systemClock.now();
  const times = preview(parseCron(cron, timezone, now), now, count).map((at) => ({
    ...{ at, local: wallText(timezone, at), remark: oddTime(cron, timezone, at) },
  }));
  if (context.globals.json) return printJson({ cron, timezone, times });
  console.log(renderTimes(times, { cron, timezone }));
}

async function enable(context: Context, name: string, isWanted: boolean): Promise<void> {
  const { deps, caller } = await enter(context);
  const { id, cron, timezone } = await find(deps.store, name);
  const now = deps.clock.now();
  const next_run_at = isWanted ? parseCron(cron, timezone, now).next(now) : null;
  const disabled_reason = isWanted ? null : `switched off by ${caller.name}`;
  const schedule = await setScheduleEnabled(deps.store, { id, next_run_at, disabled_reason, now });
  if (schedule === null) throw missing(name);
  await announce(deps, caller);
  if (context.globals.json) return printJson({ schedule });
  const next = next_run_at === null ? 'off' : `next due ${wallText(timezone, next_run_at)} ${timezone}`;
  console.log(`${paint('bold', safe(schedule.name))}: ${next}`);
}

async function remove(context: Context, name: string): Promise<void> {
  const { deps } = await enter(context);
  const row = await findSchedule(deps.store, name);
  const removed = row !== null && (await removeSchedule(deps.store, row.id));
  if (context.globals.json) return printJson({ name, removed });
  console.log(removed ? `${safe(name)}: removed` : `there is no schedule called ${safe(name)}`);
}
