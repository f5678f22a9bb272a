import type { Command } from 'commander';
import manifest from '../../../package.json' with { type: 'json' };
import { AppError } from '../../model/error.ts';
import { isHealthy } from '../../model/finding.ts';
import { MARKER_VARIABLE } from '../../model/marker.ts';
import { diagnose } from '../../session/doctor/doctor.ts';
import { callerOf } from '../../session/identity.ts';
import { demandPerson } from '../../session/rights.ts';
import { inheritedValues } from '../../sys/ancestry.ts';
import { groupsAround } from '../../sys/cgroup.ts';
import { systemClock } from '../../sys/clock.ts';
import { withLines } from '../config-lines.ts';
import type { Context } from '../context.ts';
import { paint, SCHEMA_VERSION } from '../output.ts';
import { renderFindings, summaryOf } from '../render-finding.ts';
import { examples, exitCode, type Verb } from '../verb.ts';

interface Options {
  fix?: boolean;
  quick?: boolean;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .option('--fix', 'do what is safe: modes, leftovers of the dead, orphan processes, the write-ahead log')
      .option('--quick', 'do not start the agent CLIs')
      .action(async (options: Options) => {
        exitCode.code = await run(context, options);
      });
    examples(command, ['drover doctor', 'drover doctor --quick', 'drover doctor --fix', 'drover doctor --json']);
    command.addHelpText(
      'after',
      `
Looks at Bun, git, the home, locks, the database and its backups, rows that break an invariant, processes and worktrees
that belong to nobody, and at every installed agent CLI: its flags, and what it says in one short conversation with a
model that is a script on this machine (no account, no paid call). Without --fix it changes nothing; --fix destroys
nothing. Exit codes: 0 no problem (warnings are none), 1 something is broken.`,
    );
  },
};

async function run(context: Context, options: Options): Promise<number> {
  if (options.fix) await demandRight(context);
  const findings = await diagnose(
    {
      clock: systemClock,
      home: context.home,
      env: context.env,
      package_dir: context.package_dir,
      version: manifest.version,
      repo_root: await context.repoRoot(),
      locate: withLines,
    },
    { fix: options.fix === true, quick: options.quick === true },
  );
  const ok = isHealthy(findings);
  if (context.globals.json) console.log(JSON.stringify({ schema_version: SCHEMA_VERSION, ok, findings }));
  else {
    console.log(renderFindings(findings));
    console.log(paint('dim', summaryOf(findings)));
  }
  return ok ? 0 : 1;
}

/** `--fix` ends processes, whosever they are, so it is a person's; a damaged database, which knows nobody, does not keep a person from it. */
async function demandRight(context: Context): Promise<void> {
  try {
    const store = await context.reader();
    if (store !== null) demandPerson(await callerOf({ store, env: context.env }), 'repair what all of them share');
  } catch (error) {
    const isUnknown = error instanceof AppError && /^(?:store_|schema_)/.test(error.code);
    const isInTurn = inheritedValues(MARKER_VARIABLE).length > 0 || groupsAround(context.home).length > 0;
    if (!isUnknown || context.env.DROVER_TOKEN || isInTurn) throw error;
  }
}
