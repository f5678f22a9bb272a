import { type Command, Option } from 'commander';
import manifest from '../../../package.json' with { type: 'json' };
import { ring } from '../../supervisor/ensure.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { reportError } from '../report-error.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Options {
  foreground?: boolean;
  /** The watchdog's: leave when the home is gone. */
  existing?: boolean;
  /** Of the verb that starts it, wall ms. */
  askedAt?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .option('--foreground', 'stay in this terminal and log to standard error')
      .addOption(new Option('--existing').hideHelp())
      .addOption(new Option('--asked-at <ms>').hideHelp())
      .action(async (options: Options) => {
        if (options.foreground) return foreground(context, options);
        await wake(await context.deps());
        const answer = JSON.parse((await ring(context.home, 'status')) ?? '{}') as { pid?: number; running?: number };
        if (context.globals.json) printJson({ pid: answer.pid ?? null, running: answer.running ?? 0 });
        else console.log(`supervisor ${answer.pid ?? '?'} is up, ${answer.running ?? 0} turns in flight`);
      });
    examples(command, ['drover up', 'drover up --foreground']);
    exitCodes(command, '0 it is up, 69 it could not be started or does not answer.');
  },
};

async function foreground(context: Context, { existing = false, askedAt }: Options): Promise<void> {
  const [{ runSupervisor }, { systemClock }] = await Promise.all([
    import('../../supervisor/run.ts'),
    import('../../sys/clock.ts'),
  ]);
  const run = runSupervisor({
    clock: systemClock,
    home: context.home,
    env: context.env,
    package_dir: context.package_dir,
    version: manifest.version,
    must_exist: existing,
    // Without it a person stands before it.
    asked_at: existing ? null : Number(askedAt ?? Number.POSITIVE_INFINITY),
    log: (text) => console.error(`${new Date(systemClock.now()).toISOString()} ${text}`),
  });
  // Turns that are being ended may still hold timers, and what failed may leave handles; the next supervisor takes over.
  process.exit(await run.then(() => 0).catch((error) => reportError(error, context)));
}
