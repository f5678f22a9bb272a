import { type Command, Option } from 'commander';
import { parseDuration } from '../../model/duration.ts';
import { AppError } from '../../model/error.ts';
import { homePaths } from '../../model/home.ts';
import { cachedConfig } from '../../session/config-cache.ts';
import { unmarkDown } from '../../session/home.ts';
import { callerOf } from '../../session/identity.ts';
import { demand, demandPerson } from '../../session/rights.ts';
import { ensureSupervisor, startWatchdog } from '../../supervisor/ensure.ts';
import { systemClock } from '../../sys/clock.ts';
import { isFlocked } from '../../sys/flock.ts';
import { liveness } from '../../sys/identity.ts';
import { readPidLock } from '../../sys/pid-file.ts';
import type { Context } from '../context.ts';
import { endWatchdog } from '../end-watchdog.ts';
import { printJson } from '../output.ts';
import { renderReport } from '../render-watch.ts';
import { examples, exitCode, type Verb } from '../verb.ts';

interface Options {
  once?: boolean;
  background?: boolean;
  companion?: boolean;
  killOthers?: boolean;
  interval?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .option('--once', 'look once, print the verdicts, change nothing and leave')
      .option('--background', 'start it beside the supervisor and leave')
      .option('--kill-others', 'end the one that runs and take its place')
      .option('--interval <duration>', 'between two looks, like 30s')
      .addOption(new Option('--companion').hideHelp())
      .action((options: Options) => run(context, options));
    command
      .command('explain')
      .description('what was seen, judged and done about one session')
      .argument('<session>', 'id, unique prefix, name, or latest')
      .action(async (wanted: string) => (await import('../watch-explain.ts')).explain(context, wanted));
    command
      .command('replay')
      .description('judge recorded facts again, under other thresholds')
      .argument('<file>', 'what `watch explain --json` printed, or one verdict per line')
      .option('--config <file>', 'settings whose turn and watchdog keys replace the recorded ones')
      .action(async (file: string, options: { config?: string }) =>
        (await import('../watch-replay.ts')).replay(context, file, options.config),
      );
    examples(command, [
      'drover watch',
      'drover watch --once --json',
      'drover watch explain build-1',
      'drover watch explain build-1 --json > facts.json && drover watch replay facts.json --config stricter.yaml',
    ]);
    command.addHelpText(
      'after',
      '\nThe supervisor keeps one running by itself (watchdog.is_enabled). --once only says what it sees: acts are left to it.\nExit codes: 0 ok, 1 --once found something stuck, looping or dead, 2 usage, 3 one runs already, 4 no such session.',
    );
  },
};

async function run(context: Context, options: Options): Promise<void> {
  const interval_ms = options.interval === undefined ? null : intervalOf(options.interval);
  if (!options.companion) await mayWatch(context, options.once === true);
  if (options.once) return once(context);
  if (options.killOthers) await endWatchdog(context.home);
  if (options.background) return background(context, options.interval);
  // A person who keeps a watchdog wants a supervisor.
  if (!options.companion) unmarkDown(context.home);
  const { runWatchdog } = await import('../../watchdog/run.ts');
  await runWatchdog({
    clock: systemClock,
    home: context.home,
    env: context.env,
    package_dir: context.package_dir,
    interval_ms,
    is_companion: options.companion === true,
    start_supervisor: () =>
      ensureSupervisor({
        clock: systemClock,
        home: context.home,
        env: context.env,
        package_dir: context.package_dir,
        must_exist: true,
      }),
    log: (text) => console.error(`${new Date(systemClock.now()).toISOString()} ${text}`),
  });
  // What is being ended may still hold timers; the supervisor sees it through.
  process.exit(0);
}

const LEAST_MS = 100;

function intervalOf(text: string): number {
  const ms = parseDuration(text);
  if (ms >= LEAST_MS) return ms;
  throw new AppError('usage', 'usage', `--interval wants a duration of 100ms or more, not ${JSON.stringify(text)}.`, {
    hint: 'Like 500ms, 30s, 2m.',
  });
}

/** It ends sessions, whosever they are. A look changes nothing, and is for who may stop some. */
async function mayWatch(context: Context, isLook: boolean): Promise<void> {
  const store = await context.reader();
  if (store === null) return;
  const caller = await callerOf({ store, env: context.env });
  if (isLook) demand(context, caller, 'stop');
  else demandPerson(caller, 'run a watchdog');
}

async function once(context: Context): Promise<void> {
  const { watchOnce } = await import('../../watchdog/run.ts');
  const log = (text: string) => {
    if (!context.globals.quiet) console.error(text);
  };
  // As the watchdog itself: with settings that cannot be used it says so and goes on without them.
  const { for: config_for } = cachedConfig({ clock: systemClock, env: context.env, log });
  const { report, is_watched } = await watchOnce({ ...(await context.deps()), config_for }, log);
  if (context.globals.json) printJson({ is_watched, report });
  else console.log(renderReport(report, is_watched));
  if (report.findings.some(({ health }) => health === 'stuck' || health === 'looping' || health === 'dead'))
    exitCode.code = 1;
}

const START_MS = 10_000;

/** As the supervisor would start it: it ends with the supervisor. */
async function background(context: Context, interval: string | undefined): Promise<void> {
  const lock = homePaths.lock(context.home, 'watchdog');
  if (isFlocked(lock)) {
    throw new AppError('refused', 'already_running', 'A watchdog of this home already runs.', {
      hint: '`drover ps` shows it; --kill-others takes its place.',
    });
  }
  const { clock, home, env, package_dir } = await context.deps();
  const isSilent = await rouse({ clock, home, env, package_dir });
  startWatchdog({ home, env, package_dir }, interval === undefined ? [] : ['--interval', interval]);
  const deadline = systemClock.monotonic() + START_MS;
  // The lock is taken a moment before its file says by whom; an older name in it is a dead one's.
  const holder = () => {
    const owner = isFlocked(lock) ? readPidLock(lock) : null;
    return liveness(owner) === 'alive' ? (owner?.pid ?? null) : null;
  };
  let pid = holder();
  while (pid === null && systemClock.monotonic() < deadline) {
    await systemClock.sleep(10);
    pid = holder();
  }
  if (pid === null) {
    throw new AppError('unavailable', 'watchdog_unavailable', 'The watchdog did not start.', {
      hint: `See ${homePaths.log(home, 'watchdog')}.`,
    });
  }
  if (context.globals.json) printJson({ pid });
  else console.log(`watchdog ${pid} is up`);
  if (isSilent && !context.globals.quiet)
    console.error('the supervisor does not answer; the watchdog replaces it if it stays so');
}

/** True when a supervisor holds its lock and does not answer: that is what a watchdog is for. */
async function rouse(options: Parameters<typeof ensureSupervisor>[0]): Promise<boolean> {
  try {
    await ensureSupervisor(options);
    return false;
  } catch (error) {
    if (error instanceof AppError && isFlocked(homePaths.lock(options.home, 'supervisor'))) return true;
    throw error;
  }
}
