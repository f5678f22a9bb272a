import { resolve } from 'node:path';
import type { Command } from 'commander';
import { parseDuration } from '../../model/duration.ts';
import { AppError } from '../../model/error.ts';
import type { Allowance } from '../../model/plan.ts';
import type { SessionRow } from '../../model/session.ts';
import { callerOf } from '../../session/identity.ts';
import { demand } from '../../session/rights.ts';
import { isSameHarness } from '../../session/same-harness.ts';
import { sling } from '../../session/sling.ts';
import { dollarAmount, wholeNumber } from '../amount.ts';
import type { Context } from '../context.ts';
import { follow } from '../follow.ts';
import { paint, printJson, safe } from '../output.ts';
import { readText } from '../read-text.ts';
import { warnHalt } from '../render-halt.ts';
import { examples, exitCode, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Options {
  harness?: string;
  role?: string;
  profile?: string;
  model?: string;
  name?: string;
  parent?: string;
  cwd?: string;
  base?: string;
  worktree?: boolean;
  run?: string;
  group?: string;
  wait?: boolean;
  follow?: boolean;
  maxTurns?: number;
  timeout?: number;
  gate?: string[];
  budgetUsd?: number;
  budgetTokens?: number;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<task>', 'the task; - reads standard input, @FILE a file; after -- it may begin with a dash')
      .option('--harness <id>', 'claude, codex, gemini, opencode, rehearsal, auto, or one of the config')
      .option('--role <name>', 'a page in agents/ (default: solo)')
      .option('--profile <name>', 'launch settings from the config')
      .option('--model <model>', "the harness's model name")
      .option('--name <name>', 'a name to address it by')
      .option('--parent <session>', 'the session that gets its result')
      .option('--cwd <dir>', 'directory to work in (default: here)')
      .option('--base <ref>', 'commit the worktree starts from (default: HEAD)')
      .option('--worktree', 'work in a worktree and branch of its own')
      .option('--no-worktree', 'work in the directory itself')
      .option('--run <run>', 'add it to a run')
      .option('--group <label>', 'group label')
      .option('--wait', 'wait for the end; the exit code is the outcome')
      .option('--follow', 'like --wait, and show the events')
      .option('--max-turns <n>', 'model turns per process, where the harness can', wholeNumber('--max-turns'))
      .option('--timeout <duration>', 'longest time for one turn, e.g. 45m', duration)
      .option(
        '--gate <command>',
        'has to pass before it is completed; repeatable, instead of those of the config',
        more,
      )
      .option('--budget-usd <dollars>', 'park it when it has spent so much, e.g. 2.50', dollarAmount('--budget-usd'))
      .option('--budget-tokens <n>', 'park it when it has used so many tokens', wholeNumber('--budget-tokens'))
      .action(async (task: string, options: Options) => {
        exitCode.code = await run(context, task, options);
      });
    examples(command, [
      'drover sling "fix the flaky test"',
      'drover sling --harness codex --worktree --wait @task.md',
      'drover sling --budget-usd 2.50 "migrate the tests"',
      "drover sling --worktree --gate 'npm test' --gate 'npm run lint' @task.md",
      'git diff | drover sling - --role reviewer --name review-1',
    ]);
    exitCodes(
      command,
      '0 stored, 2 usage (nothing is stored), 3 refused, 69 its harness is not installed. With --wait or --follow the outcome:\n0 completed or at rest, 1 failed, stopped or died, 75 parked or waiting for an answer.',
    );
  },
};

async function run(context: Context, task: string, options: Options): Promise<number> {
  const text = await readText(task);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'sling');
  if (caller.session !== null && (options.wait || options.follow)) throw waitInTurn();
  if (caller.session !== null && options.gate !== undefined) throw gateOfTurn();
  const row = await sling(deps, caller, {
    task: text,
    cwd: resolve(context.cwd, options.cwd ?? '.'),
    harness: options.harness,
    role: options.role,
    profile: options.profile,
    model: options.model,
    name: options.name,
    parent: options.parent,
    base: options.base,
    worktree: options.worktree,
    run: options.run,
    group: options.group,
    max_turns: options.maxTurns,
    timeout_ms: options.timeout,
    gate: options.gate,
    budget: budgetOf(options),
  });
  const overridden = overriddenHarness(row, options.harness);
  if (overridden !== null && !context.globals.quiet && !context.globals.json)
    console.error(
      `note: the profile ${safe(row.profile_name ?? '')} names its harness: ${safe(row.harness)} and not ${safe(overridden)}, as --harness said`,
    );
  await warnHalt(context, deps.store);
  const isWaiting = options.wait === true || options.follow === true;
  if (!isWaiting) {
    if (context.globals.json) printJson({ session: row, overridden_harness: overridden });
    else
      console.log(
        context.globals.quiet ? row.id : `${row.id}  ${paint('bold', safe(row.name))}  ${safe(row.harness)}, queued`,
      );
  } else if (!context.globals.json) {
    console.error(paint('dim', `${row.id}  ${safe(row.name)}  ${safe(row.harness)}`));
  }
  await wake(deps);
  return isWaiting ? follow(context, deps.store, [row], { any: false, events: options.follow === true }) : 0;
}

/** What --harness said, where a profile decided otherwise (E-006); null: nothing was overridden. */
function overriddenHarness({ harness }: SessionRow, wanted: string | undefined): string | null {
  const word = wanted?.trim() ?? '';
  return word === '' || isSameHarness(word, 'auto') || isSameHarness(word, harness) ? null : word;
}

/** Undefined: what its profile allows. */
function budgetOf({ budgetUsd, budgetTokens }: Options): Allowance | undefined {
  if (budgetUsd === undefined && budgetTokens === undefined) return undefined;
  return { cost_micros: budgetUsd ?? null, tokens: budgetTokens ?? null };
}

/** Its slot would be taken until the child is done, and the child may need that slot. */
function waitInTurn(): AppError {
  return new AppError('usage', 'wait_in_turn', 'A session cannot wait in its turn.', {
    hint: 'Sling without --wait and end your turn; the result starts your next one.',
    preserved: 'nothing was stored',
  });
}

/** drover would run it outside of whatever the session is confined to. */
function gateOfTurn(): AppError {
  return new AppError('refused', 'gate_in_turn', 'A session cannot give another one a gate.', {
    hint: 'Say in the task what has to pass; the gates of the config are run all the same.',
    unsafe_condition: 'drover would run a command of the session outside of what that is confined to',
    preserved: 'nothing was stored',
  });
}

function more(command: string, before: string[] = []): string[] {
  if (command.trim() === '' || command.includes('\0'))
    throw new AppError('usage', 'usage', '--gate wants a command for /bin/sh.');
  return [...before, command];
}

function duration(text: string): number {
  const value = parseDuration(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new AppError('usage', 'usage', `Not a duration: ${JSON.stringify(text)}. Use 90s, 45m, 2h.`);
}
