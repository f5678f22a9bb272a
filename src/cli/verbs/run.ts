import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { callerOf } from '../../session/identity.ts';
import { demand, demandPerson } from '../../session/rights.ts';
import { activeRun, completeRun, createRun, findRun, listRuns, type RunRow } from '../../store/run.ts';
import { addToRun, removeFromRun } from '../../store/run-members.ts';
import { listSessions } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
import { wholeNumber } from '../amount.ts';
import type { Context } from '../context.ts';
import { age, clip, dollars, paint, printJson, type Style, safe, table } from '../output.ts';
import { paintState, reason } from '../render-session.ts';
import { lookUp } from '../sessions.ts';
import { examples, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .command('list', { isDefault: true })
      .description('runs, newest first')
      .option('--active', 'only those that are not over')
      .option('--limit <n>', 'at most this many', wholeNumber('--limit'), 50)
      .action((options: { active?: boolean; limit: number }) => list(context, options));
    command
      .command('current')
      .description('the active run that was started last')
      .action(() => current(context));
    command
      .command('show')
      .description('one run and its sessions')
      .argument('<run>', 'id, unique prefix, name, or latest')
      .action((wanted: string) => show(context, wanted));
    command
      .command('create')
      .description('start an empty run; it closes by itself when what was put into it has ended')
      .argument('<name>', 'lowercase letters, digits, dots and dashes')
      .action((name: string) => create(context, name));
    command
      .command('add')
      .description('put sessions into an active run; a session is in one run at most')
      .argument('<run>', 'id, unique prefix, name, or latest')
      .argument('<session...>', 'id, unique prefix, name, or latest')
      .action((wanted: string, sessions: string[]) => changeMembers(context, wanted, sessions, 'add'));
    command
      .command('remove')
      .description('take sessions out of a run; they go on without one')
      .argument('<run>', 'id, unique prefix, name, or latest')
      .argument('<session...>', 'id, unique prefix, name, or latest')
      .action((wanted: string, sessions: string[]) => changeMembers(context, wanted, sessions, 'remove'));
    command
      .command('complete')
      .description('mark a run as over; its sessions are left alone')
      .argument('<run>', 'id, unique prefix, name, or latest')
      .option('--failed', 'it did not reach its aim')
      .action((wanted: string, options: { failed?: boolean }) => complete(context, wanted, options.failed === true));
    examples(command, [
      'drover sling --run nightly "update the dependencies"',
      'drover run list',
      'drover run show nightly',
      'drover run create cleanup',
      'drover run add cleanup build-1 build-2',
      'drover run remove cleanup build-2',
      'drover run complete nightly',
    ]);
    command.addHelpText(
      'after',
      [
        '\nA run that is not of a plan closes by itself when all of its sessions have ended, persistent ones apart: completed,',
        'or failed when one failed or died and nobody took over from it. A living coordinator holds it open.',
        'A word means a run by its id, then by its name (the active one before ended ones), then by the beginning of its id.',
        'Exit codes: 0 ok, 2 usage or an ambiguous prefix, 3 refused: already over, of a plan, in another run, or not for',
        'sessions, 4 no such run or session.',
      ].join('\n'),
    );
  },
};

async function list(context: Context, options: { active?: boolean; limit: number }): Promise<void> {
  const { limit } = options;
  const store = await context.reader();
  const runs =
    store === null ? [] : await listRuns(store, { limit, ...(options.active ? { status: 'active' as const } : {}) });
  if (context.globals.json) return printJson({ runs });
  if (runs.length === 0) return console.log('no runs; `drover sling --run NAME "…"` starts one');
  console.log(runTable(runs, systemClock.now()));
}

async function current(context: Context): Promise<void> {
  const store = await context.reader();
  const run = store === null ? null : await activeRun(store);
  if (context.globals.json) return printJson({ run });
  console.log(run === null ? 'no run is active' : runTable([run], systemClock.now()));
}

const STYLES: Record<RunRow['status'], Style> = { active: 'cyan', completed: 'green', failed: 'red' };

function runTable(runs: readonly RunRow[], now: number): string {
  const header = ['ID', 'NAME', 'STATUS', 'SESSIONS', 'LIVE', 'STARTED', 'TOOK'].map((cell) => paint('dim', cell));
  const rows = runs.map((run) => [
    run.id,
    paint('bold', safe(run.name)),
    paint(STYLES[run.status], run.status),
    String(run.agent_count),
    String(run.live_count),
    `${age(now - run.started_at)} ago`,
    run.completed_at === null ? '-' : age(run.completed_at - run.started_at),
  ]);
  return table([header, ...rows]);
}

async function open(context: Context, wanted: string): Promise<Store> {
  const store = await context.reader();
  if (store !== null) return store;
  throw new AppError('not_found', 'run_not_found', `Run not found: ${wanted}`, {
    hint: 'Nothing was ever slung here.',
  });
}

async function show(context: Context, wanted: string): Promise<void> {
  const store = await open(context, wanted);
  const run = await findRun(store, wanted);
  const sessions = (await listSessions(store, { run_id: run.id })).reverse();
  if (context.globals.json) return printJson({ run, sessions });
  const now = systemClock.now();
  console.log(runTable([run], now));
  if (run.coordinator_name !== null)
    console.log(`coordinator ${safe(run.coordinator_name)} (${run.coordinator_session_id})`);
  if (sessions.length === 0) return;
  const header = ['NAME', 'STATE', 'HARNESS', 'TURN', 'COST', 'WHY / TASK'].map((cell) => paint('dim', cell));
  const rows = sessions.map((row) => [
    paint('bold', safe(row.name)),
    paintState(row.state),
    clip(row.harness, 30),
    String(row.turn),
    dollars(row.cost_micros),
    clip(reason(row, now) || row.task, 80),
  ]);
  console.log(`\n${table([header, ...rows])}`);
}

async function create(context: Context, name: string): Promise<void> {
  const deps = await context.deps();
  demandPerson(await callerOf(deps), 'start an empty run');
  const run = await createRun(deps.store, { name, now: deps.clock.now() });
  if (context.globals.json) return printJson({ run });
  console.log(`${safe(run.name)} (${run.id}) is active; \`drover run add ${run.name} SESSION\` puts sessions into it`);
}

const MEMBER_ACTS = { add: addToRun, remove: removeFromRun };

/** A person's choice of what is in a run; all of the sessions are moved, or none (O-82). */
async function changeMembers(
  context: Context,
  wanted: string,
  words: readonly string[],
  act: keyof typeof MEMBER_ACTS,
): Promise<void> {
  // A verb that only changes what is stored makes no home where there is none.
  await open(context, wanted);
  const deps = await context.deps();
  demandPerson(await callerOf(deps), 'change which sessions are in a run');
  const { id: run_id } = await findRun(deps.store, wanted);
  const session_ids: string[] = [];
  for (const word of words) session_ids.push((await lookUp(context, deps.store, word)).id);
  const { run, changed } = await MEMBER_ACTS[act](deps.store, { run_id, session_ids, now: deps.clock.now() });
  if (context.globals.json) return printJson({ run, changed });
  const done = act === 'add' ? 'added' : 'removed';
  const state = run.status === 'active' ? `${run.live_count} of ${run.agent_count} live` : run.status;
  console.log(`${safe(run.name)}: ${changed.length} ${done}; ${state}`);
}

async function complete(context: Context, wanted: string, isFailed: boolean): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  const run = await findRun(deps.store, wanted);
  if (caller.session?.run_id !== run.id) demandPerson(caller, 'end a run that it is not in');
  const done = await completeRun(deps.store, {
    id: run.id,
    status: isFailed ? 'failed' : 'completed',
    now: deps.clock.now(),
  });
  if (done === null) {
    throw new AppError('refused', 'run_ended', `The run ${run.name} is over already (${run.status}).`, {
      preserved: 'nothing was changed',
    });
  }
  if (context.globals.json) return printJson({ run: done });
  console.log(`${safe(done.name)}: ${done.status}, ${done.agent_count} sessions`);
  if (done.live_count > 0)
    console.error(paint('yellow', `${done.live_count} of them are live and go on; \`drover stop\` ends them`));
}
