import { type Command, Option } from 'commander';
import { AppError } from '../../model/error.ts';
import { newSecret } from '../../model/id.ts';
import { PRIORITIES, parsePriority } from '../../model/mail.ts';
import { addComputerUse, addDispatch, previewDispatches, runDispatches } from '../../plan/dispatch.ts';
import type { Deps } from '../../session/deps.ts';
import { type Caller, callerOf } from '../../session/identity.ts';
import { demandPerson } from '../../session/rights.ts';
import { listDispatch } from '../../store/dispatch.ts';
import { haltedError, standingHalt } from '../../store/halted.ts';
import { systemClock } from '../../sys/clock.ts';
import { wholeNumber } from '../amount.ts';
import { announce } from '../announce.ts';
import type { Context } from '../context.ts';
import { clip, paint, printJson, table } from '../output.ts';
import { readText } from '../read-text.ts';
import { renderOutcomes, renderRequests } from '../render-dispatch.ts';
import { lookUp } from '../sessions.ts';
import { examples, type Verb } from '../verb.ts';

interface AddOptions {
  to?: string;
  priority: string;
  harness?: string;
  profile?: string;
  worktree?: boolean;
  label?: string;
  group?: string;
  source: string;
  requester?: string;
  computerUse?: string;
  url?: string;
  context?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    configureAdd(command, context);
    command
      .command('list', { isDefault: true })
      .description('requests that wait, in the order of their processing')
      .option('--all', 'those that are through as well')
      .option('--limit <n>', 'at most this many', wholeNumber('--limit'), 50)
      .action((options: { all?: boolean; limit: number }) => list(context, options));
    command
      .command('run')
      .description('process what waits now, in this process; safe beside the supervisor')
      .option('--limit <n>', 'at most this many', wholeNumber('--limit'), 10)
      .action((options: { limit: number }) => run(context, options.limit));
    command
      .command('preview')
      .description('who would get what waits; nothing is changed')
      .option('--limit <n>', 'at most this many', wholeNumber('--limit'), 10)
      .action((options: { limit: number }) => preview(context, options.limit));
    examples(command, [
      'drover dispatch add "look at the failing build" --priority high',
      'drover dispatch add @bug.md --to lead-1 --requester phone',
      'drover dispatch add --computer-use "Confirm the refund banner" --url https://example.test/account',
      'drover dispatch list --all',
    ]);
    command.addHelpText(
      'after',
      `
The supervisor processes requests by itself, highest priority first, the oldest of these first. Without --to a request
becomes a session of its own. With --to, one of the sessions that this one has handed work to gets it: an idle one without
backlog, else a new one while there is room, else one at work without backlog; while nobody has room it waits.
For --computer-use what is not said comes from computer_use of the config.
Exit codes: 0 ok, 2 usage or a mistake in the request, 3 refused, 4 no such session.`,
    );
  },
};

function configureAdd(command: Command, context: Context): void {
  command
    .command('add')
    .description('ask for work; it is stored first and started later')
    .argument('[task]', 'the task; - reads standard input, @FILE a file')
    .option('--to <session>', 'who is to lead it: one of its delegates gets it')
    .addOption(new Option('--priority <word>', `${PRIORITIES.join(', ')}`).default('normal'))
    .option('--harness <id>', 'claude, codex, gemini, opencode, rehearsal, auto, or one of the config')
    .option('--profile <name>', 'launch settings from the config')
    .option('--worktree', 'work in a worktree and branch of its own')
    .option('--no-worktree', 'work in the directory itself')
    .option('--label <label>', 'project label (default: the name of the repository, or that of the lead)')
    .option('--group <label>', 'group label (default: the task, or that of the lead)')
    .option('--source <label>', 'where the request comes from', 'cli')
    .option('--requester <name>', 'who asks')
    .option('--computer-use <goal>', 'work at a browser or screen towards this goal, instead of a task')
    .option('--url <url>', 'of --computer-use: where to begin')
    .option('--context <text>', 'of --computer-use: what has to be known')
    .action((task: string | undefined, options: AddOptions) => add(context, task, options));
}

async function add(context: Context, task: string | undefined, options: AddOptions): Promise<void> {
  const { computerUse: goal, url, context: about } = options;
  if ((task === undefined) === (goal === undefined)) throw usage('Give either a task or --computer-use GOAL.');
  if (goal === undefined && (url !== undefined || about !== undefined))
    throw usage('--url and --context belong to --computer-use.');
  const priority = parsePriority(options.priority);
  if (priority === null) throw usage(`There is no priority ${JSON.stringify(options.priority)}.`);
  const text = task === undefined ? '' : await readText(task);
  const { deps, caller } = await enter(context);
  const wishes = {
    target: options.to === undefined ? null : await lookUp(context, deps.store, options.to),
    ...{ cwd: context.cwd, priority, harness: options.harness, profile: options.profile, worktree: options.worktree },
    ...{ project: options.label, group: options.group, source: options.source },
    requester: options.requester ?? null,
  };
  const request =
    goal === undefined
      ? await addDispatch(deps, { ...wishes, task: text })
      : await addComputerUse(deps, { ...wishes, goal, url, context: about });
  await announce(deps, caller);
  if (context.globals.json) return printJson({ request });
  console.log(context.globals.quiet ? request.id : `${request.id}  ${request.priority}, pending`);
}

function usage(message: string): AppError {
  const hint = `Priorities: ${PRIORITIES.join(', ')}. See drover dispatch add --help.`;
  return new AppError('usage', 'usage', message, { hint, preserved: 'nothing was stored' });
}

/** What a request starts is nobody's child, in no run and within no budget of one: sessions sling. */
async function enter(context: Context): Promise<{ deps: Deps; caller: Caller }> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demandPerson(caller, 'ask for work or process requests');
  return { deps, caller };
}

async function list(context: Context, options: { all?: boolean; limit: number }): Promise<void> {
  const store = await context.reader();
  const requests = store === null ? [] : await listDispatch(store, { all: options.all === true, limit: options.limit });
  if (context.globals.json) return printJson({ requests });
  console.log(renderRequests(requests, systemClock.now()));
}

async function run(context: Context, limit: number): Promise<void> {
  const { deps, caller } = await enter(context);
  const halt = await standingHalt(deps.store);
  if (halt !== null) throw haltedError(halt, 'every request waits as before');
  const outcomes = await runDispatches(deps, { claimed_by: `cli:${newSecret()}`, actor: 'cli', limit });
  if (outcomes.some(({ session_id }) => session_id !== null)) await announce(deps, caller);
  if (context.globals.json) return printJson({ outcomes });
  console.log(renderOutcomes(outcomes));
}

async function preview(context: Context, limit: number): Promise<void> {
  const isEmpty = (await context.reader()) === null;
  const previews = isEmpty ? [] : await previewDispatches(await context.deps(), limit);
  if (context.globals.json) return printJson({ previews });
  if (previews.length === 0) return console.log('no requests wait');
  const lines = previews.map(({ request_id, error, action, session_id, graph_match_terms = [] }) => [
    request_id,
    error === null ? `${action} ${session_id ?? ''}`.trim() : paint('red', clip(`failed: ${error}`, 100)),
    graph_match_terms.length === 0 ? '' : `about ${clip(graph_match_terms.join(', '), 80)}`,
  ]);
  console.log(table(lines));
}
