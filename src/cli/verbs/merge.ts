import type { Command } from 'commander';
import { mergeSession } from '../../merge/one.ts';
import { mergeQueue } from '../../merge/queue.ts';
import { mergedOf } from '../../merge/report.ts';
import { AppError } from '../../model/error.ts';
import type { Deps } from '../../session/deps.ts';
import { type Caller, callerOf } from '../../session/identity.ts';
import { demandReach, reachOf } from '../../session/reach.ts';
import { demand } from '../../session/rights.ts';
import { systemClock } from '../../sys/clock.ts';
import { onSignal } from '../../sys/signals.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { outcomeLines, queueLines } from '../render-merge.ts';
import { lookUp } from '../sessions.ts';
import { examples, exitCode, type Verb } from '../verb.ts';
import { patienceOf, type WaitOption, waitOption } from '../wait-option.ts';

interface Options extends WaitOption {
  queue?: boolean;
  dryRun?: boolean;
  into?: string;
  clean: boolean;
  allEnded?: boolean;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('[session]', 'an ended session with a worktree: id, unique prefix, name, or latest')
      .option('--queue', 'everything of this repository that is ready, in order')
      .option('--dry-run', 'show order, blockers and conflicts; write nothing, not even objects')
      .option('--into <branch>', 'the branch to merge into (default: the one the person was on at its sling)')
      .option('--no-clean', 'keep worktrees and branches; with --queue a single pass without rebasing')
      .option('--all-ended', 'with --queue: also sessions that ended without being completed')
      .action((wanted: string | undefined, options: Options) => run(context, wanted, options));
    waitOption(command);
    examples(command, [
      'drover merge build-1',
      'drover merge build-1 --into release/2 --no-clean',
      'drover merge --queue --dry-run',
      'drover merge --queue',
      'drover merge build-1 --wait 30m',
    ]);
    command.addHelpText(
      'after',
      `
The merged result is made beside every checkout, the gates of the config (gate.commands) run on it, and only then the
target branch moves, if it still is where it was. A checkout of the target follows if it is clean. A red gate is not
tried again by the queue until branch or target have moved; a merge by name tries it again.
One merge at a time goes into a branch: a second one is refused at once, unless --wait lets it wait for its turn.
Exit codes: 0 all that has ended is in, or nothing to do; 1 conflicts, uncommitted changes or failures; 2 usage;
3 refused, nothing was moved (also when --wait is over); 4 no such session; 75 held by a red gate; 130 interrupted.`,
    );
  },
};

async function run(context: Context, wanted: string | undefined, options: Options): Promise<void> {
  if ((wanted === undefined) === !options.queue)
    throw new AppError('usage', 'usage', 'Name one session, or use --queue.', { hint: 'See drover merge --help.' });
  if (options.allEnded && !options.queue)
    throw new AppError(
      'usage',
      'usage',
      '--all-ended belongs to --queue; a session that is named may have ended anyhow.',
    );
  // Before anything is opened.
  patienceOf(options, true);
  const stop = new AbortController();
  const signals = onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
  try {
    const deps = options.dryRun ? await reading(context) : await context.deps();
    const caller = deps === null ? null : await allowed(deps);
    if (options.queue) await queue(context, deps, caller, options, stop.signal);
    else await one(context, deps, caller, wanted ?? '', options, stop.signal);
  } finally {
    signals.close();
  }
}

async function allowed(deps: Deps): Promise<Caller> {
  const caller = await callerOf(deps);
  demand(deps, caller, 'merge');
  return caller;
}

/** For a dry run: a store that cannot be written; null when nothing was ever stored. */
async function reading(context: Context): Promise<Deps | null> {
  const store = await context.reader();
  if (store === null) return null;
  const { home, env, package_dir } = context;
  const config_for = async (root: string) => (await import('../../session/config.ts')).loadConfig(env, root);
  return { clock: systemClock, store, home, env, package_dir, config_for };
}

async function one(
  context: Context,
  deps: Deps | null,
  caller: Caller | null,
  wanted: string,
  options: Options,
  signal: AbortSignal,
): Promise<void> {
  const row = await lookUp(context, deps?.store ?? null, wanted);
  if (deps === null || caller === null) return;
  await demandReach(deps, caller, 'merge', [row]);
  const dry_run = options.dryRun === true;
  const request = {
    row,
    into: options.into ?? null,
    is_clean: options.clean,
    patience: patienceOf(options, context.globals.quiet),
    dry_run,
    by: caller.name,
    signal,
  };
  const outcome = await mergeSession(deps, request);
  const base_branch = outcome?.base_branch ?? options.into ?? row.base_branch;
  if (outcome === null) {
    if (context.globals.json)
      printJson({ dry_run, session_id: row.id, branch: row.branch, base_branch, would_merge: true });
    else
      console.log(`${row.name}: ${row.branch} would be merged into ${base_branch} without conflicts; nothing was done`);
    return;
  }
  await tell(deps);
  exitCode.code =
    outcome.outcome === 'gate' ? 75 : outcome.outcome === 'merged' || outcome.outcome === 'up_to_date' ? 0 : 1;
  if (context.globals.json) printJson({ dry_run, ...mergedOf(outcome), ...outcome });
  else console.log(outcomeLines(outcome).join('\n'));
}

async function queue(
  context: Context,
  deps: Deps | null,
  caller: Caller | null,
  options: Options,
  signal: AbortSignal,
): Promise<void> {
  const repo_root = await context.repoRoot();
  if (repo_root === null) {
    throw new AppError('usage', 'not_a_repository', `Not inside a git repository: ${context.cwd}`, {
      hint: 'Go into one, or give it with --project.',
      preserved: 'nothing was changed',
    });
  }
  const dry_run = options.dryRun === true;
  const into = options.into ?? null;
  const all_ended = options.allEnded === true ? true : null;
  const request = {
    repo_root,
    into,
    all_ended,
    is_clean: options.clean,
    patience: patienceOf(options, context.globals.quiet),
    dry_run,
    by: caller?.name ?? '',
    may: deps === null || caller === null ? () => true : await reachOf(deps, caller, 'merge'),
    signal,
  };
  const report = deps === null ? null : await mergeQueue(deps, request);
  if (deps !== null && !dry_run) await tell(deps);
  exitCode.code = dry_run ? 0 : (report?.exit_code ?? 0);
  if (context.globals.json) {
    const { exit_code: _code, names: _names, ...rest } = report ?? { exit_code: 0, names: null, ...EMPTY };
    return printJson({ dry_run, ...rest });
  }
  console.log(report === null ? 'nothing to merge' : queueLines(report, dry_run).join('\n'));
}

/** What a home without a database has to report. */
const EMPTY = {
  ...{ merged: [], rebased: [], active_with_worktree_ids: [], conflicted_session_ids: [], dirty_worktree_ids: [] },
  ...{ blocked_by_queue_session_ids: [], failures: [], outcomes: [], entries: [], missing: [], refusals: [] },
};

/** Parents may have mail now. A lost ring is harmless. */
async function tell(deps: Deps): Promise<void> {
  const { ring } = await import('../../supervisor/ensure.ts');
  await ring(deps.home);
}
