import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { homePaths } from '../../model/home.ts';
import { callerOf } from '../../session/identity.ts';
import { demand } from '../../session/rights.ts';
import { ring } from '../../supervisor/ensure.ts';
import { systemClock } from '../../sys/clock.ts';
import { isFlocked } from '../../sys/flock.ts';
import type { Context } from '../context.ts';
import { endWatchdog } from '../end-watchdog.ts';
import { printJson } from '../output.ts';
import { examples, type Verb } from '../verb.ts';

const WAIT_MS = 10_000;
const RING_EVERY = 10;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command.action(async () => {
      const store = await context.reader();
      if (store !== null) demand(context, await callerOf({ store, env: context.env }), 'stop');
      // First: it would bring the supervisor back.
      const watchdog = await endWatchdog(context.home);
      const reply = await ring(context.home, 'down');
      const running = reply === null ? 0 : ((JSON.parse(reply) as { running?: number }).running ?? 0);
      await untilFree(context.home);
      // The supervisor may have started one more on its last legs.
      await endWatchdog(context.home);
      if (context.globals.json) printJson({ was_up: reply !== null, running, watchdog_was_up: watchdog !== null });
      else if (reply === null) console.log('no supervisor was up');
      else
        console.log(
          running === 0
            ? 'supervisor stopped'
            : `supervisor stopped; ${running} turns go on and are adopted by the next one`,
        );
    });
    examples(command, ['drover down']);
  },
};

/** Rings again and again: one that was just starting has the lock before it has a doorbell. */
async function untilFree(home: string): Promise<void> {
  const deadline = systemClock.monotonic() + WAIT_MS;
  for (let look = 1; isFlocked(homePaths.lock(home, 'supervisor')); look += 1) {
    if (look % RING_EVERY === 0) await ring(home, 'down');
    if (systemClock.monotonic() > deadline) {
      throw new AppError('unavailable', 'supervisor_stuck', 'The supervisor did not stop.', {
        hint: '`drover ps` shows its pid; it may be killed at any time.',
      });
    }
    await systemClock.sleep(20);
  }
}
