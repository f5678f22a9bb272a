import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { homePaths } from '../../model/home.ts';
import { quoted } from '../../model/shell.ts';
import { markDown, unmarkDown } from '../../session/home.ts';
import { callerOf } from '../../session/identity.ts';
import { demandPerson } from '../../session/rights.ts';
import type { Store } from '../../store/store.ts';
import { openTurns } from '../../store/turn.ts';
import { ring, startWatchdog } from '../../supervisor/ensure.ts';
import { systemClock } from '../../sys/clock.ts';
import { isFlocked } from '../../sys/flock.ts';
import { killOwner } from '../../sys/pid-file.ts';
import { onSignal } from '../../sys/signals.ts';
import type { Context } from '../context.ts';
import { endWatchdog } from '../end-watchdog.ts';
import { printJson, safe } from '../output.ts';
import { examples, type Verb } from '../verb.ts';

/** For so long it is asked; then it is ended, and that takes no longer than this. */
const PATIENCE_MS = 10_000;
const DEATH_MS = 5_000;
const RING_EVERY = 10;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command.action(() => run(context));
    examples(command, ['drover down']);
    command.addHelpText(
      'after',
      '\nRunning turns go on. A supervisor that does not leave within 10 s is killed; its turns go on as well.\nExit codes: 0 ok, also when none was up, 69 one could not be ended, 130 interrupted.',
    );
  },
};

async function run(context: Context): Promise<void> {
  const store = await context.reader();
  if (store !== null) demandPerson(await callerOf({ store, env: context.env }), 'end the supervisor');
  let watchdog: number | null = null;
  // A home that still has a supervisor must not be left without a watchdog.
  const watchAgain = () => {
    unmarkDown(context.home);
    if (watchdog !== null) startWatchdog(context);
  };
  const ended = await orElse(watchAgain, async (stop) => {
    leaveMark(context.home);
    // First: it would bring the supervisor back.
    watchdog = await endWatchdog(context.home);
    return endSupervisor(context.home, store, stop);
  });
  const { was_up, killed, running } = ended;
  if (context.globals.json) printJson({ was_up, killed, running, watchdog_was_up: watchdog !== null });
  else console.log(render(ended));
}

/** On a full disk it has to end all the same: then who is slow may come up afterwards. */
function leaveMark(home: string): void {
  try {
    markDown(home, systemClock.now());
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    console.error(safe(`what comes up late will stay: ${error.message} [${error.code}]`));
  }
}

interface Ended {
  was_up: boolean;
  /** It did not leave by itself. */
  killed: boolean;
  answered: boolean;
  /** Turns in flight, which go on. */
  running: number;
}

/** Does `amends` when the work fails, or was asked by a signal to give up. */
async function orElse<T>(amends: () => void, work: (stop: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const signals = onSignal(['SIGINT', 'SIGTERM', 'SIGHUP'], () => stop.abort());
  try {
    return await work(stop.signal);
  } catch (error) {
    amends();
    throw error;
  } finally {
    signals.close();
  }
}

async function endSupervisor(home: string, store: Store | null, stop: AbortSignal): Promise<Ended> {
  const lock = homePaths.lock(home, 'supervisor');
  const reply = await ring(home, 'down');
  const has_left = await untilFree(lock, PATIENCE_MS, stop, () => ring(home, 'down'));
  if (!has_left) {
    const pid = killOwner(lock);
    const isGone = pid === null ? !isFlocked(lock) : await untilFree(lock, DEATH_MS, stop);
    if (!isGone) throw stuck(lock, pid);
  }
  // It may have started one more on its last legs.
  await endWatchdog(home);
  const known = reply === null ? null : (JSON.parse(reply) as { running?: number }).running;
  const running = known ?? (has_left || store === null ? 0 : (await openTurns(store)).length);
  return { was_up: reply !== null || !has_left, killed: !has_left, answered: reply !== null, running };
}

/**
 * False when it is still held after `within_ms`. `again` rings now and then: one that was just starting has the lock before
 * it has a doorbell.
 */
async function untilFree(
  lock: string,
  within_ms: number,
  stop: AbortSignal,
  again?: () => Promise<unknown>,
): Promise<boolean> {
  const deadline = systemClock.monotonic() + within_ms;
  for (let look = 1; isFlocked(lock); look += 1) {
    if (look % RING_EVERY === 0) await again?.();
    if (systemClock.monotonic() > deadline) return false;
    await systemClock.sleep(20, stop);
    if (stop.aborted) throw new AppError('interrupted', 'interrupted', 'Interrupted: the supervisor may still run.');
  }
  return true;
}

function stuck(lock: string, killed: number | null): AppError {
  const why =
    killed === null
      ? `${quoted(lock)} does not say who holds it`
      : `pid ${killed} was killed and still holds ${quoted(lock)}`;
  return new AppError('unavailable', 'supervisor_stuck', `The supervisor could not be ended: ${why}.`, {
    hint: `\`fuser ${quoted(lock)}\` shows who holds it; it may be killed at any time, running turns go on.`,
  });
}

function render({ was_up, killed, answered, running }: Ended): string {
  if (!was_up) return 'no supervisor was up';
  const end = !killed
    ? 'supervisor stopped'
    : `the supervisor did not ${answered ? 'leave' : 'answer'} in time and was ended`;
  return running === 0 ? end : `${end}; ${running} turns go on and are adopted by the next one`;
}
