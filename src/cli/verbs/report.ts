import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { AppError } from '../../model/error.ts';
import { formatOf, REPORT_FORMATS, type ReportFormat, renderReport, reportOf } from '../../plan/report.ts';
import { findPlan, listPlans } from '../../store/plan.ts';
import { findRun } from '../../store/run.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
import { writeAtomic } from '../../sys/files.ts';
import type { Context } from '../context.ts';
import { jsonLine, paint } from '../output.ts';
import { printWhole } from '../stream-out.ts';
import { examples, type Verb } from '../verb.ts';

interface Options {
  format?: ReportFormat;
  out?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument(
        '[run]',
        'a run or a plan: id, unique prefix, name, or latest, the newest run (default: the newest plan)',
      )
      .addOption(
        new Option('--format <format>', 'how it is written (default: as --out is called, else md)').choices(
          REPORT_FORMATS,
        ),
      )
      .option('--out <file>', 'write it there instead of printing it')
      .action((wanted: string | undefined, options: Options) => run(context, wanted, options));
    examples(command, [
      'drover report',
      'drover report nightly --format html --out night.html',
      'drover report run-x7k2 --json',
      'drover report | less',
    ]);
    command.addHelpText(
      'after',
      `
Of a plan or of any other run, over or not; its first line says how it stands: done, failed, parked or running. It is
computed from the database when it is asked for. When a plan ends it is also written to DROVER_HOME/reports and to the
plan's own \`report:\` path, and you get a mail.
Exit codes: 0 ok, whatever it says; 1 it could not be written; 2 usage or an ambiguous name; 4 no such run or plan.`,
    );
  },
};

async function run(context: Context, wanted: string | undefined, options: Options): Promise<void> {
  const format = wantedFormat(context, options);
  const store = await context.reader();
  const report = store === null ? null : await reportOf(store, await runIdOf(store, wanted), systemClock.now());
  if (report === null) throw notFound(wanted ?? 'latest');
  if (options.out === undefined) {
    if (format === 'json') return printWhole(jsonLine({ ...report }));
    return printWhole(onTerminal(renderReport(report, format), format).trimEnd());
  }
  const path = resolve(context.cwd, options.out);
  writeAtomic(path, renderReport(report, format), 0o644);
  const { verdict, headline } = report;
  if (context.globals.json) await printWhole(jsonLine({ verdict, headline, format, path, run: report.run }));
  else if (!context.globals.quiet) await printWhole(`${headline}\n${path}`);
}

function wantedFormat({ globals }: Context, { format, out }: Options): ReportFormat {
  if (format === undefined) {
    if (out !== undefined) return formatOf(out);
    return globals.json ? 'json' : 'md';
  }
  if (globals.json && out === undefined && format !== 'json')
    throw new AppError('usage', 'usage', `--json prints JSON, and --format asks for ${format}: give one of them.`);
  return format;
}

/** The newest plan, so that what was slung after the night does not hide it. A plan goes before a run that has its name. Throws `run_not_found` (4), `run_ambiguous`, `plan_ambiguous` (2). */
async function runIdOf(store: Store, wanted: string | undefined): Promise<string> {
  if (wanted === undefined)
    return (await listPlans(store, { limit: 1 })).at(0)?.run_id ?? (await findRun(store, 'latest')).id;
  if (wanted === 'latest' || wanted.startsWith('run-')) return (await findRun(store, wanted)).id;
  try {
    return (await findPlan(store, wanted)).run_id;
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'plan_not_found') throw error;
    return (await findRun(store, wanted)).id;
  }
}

function notFound(wanted: string): AppError {
  return new AppError('not_found', 'run_not_found', `Run not found: ${wanted}`, {
    hint: 'Nothing was ever slung here.',
  });
}

/** Headings stand out where there are colours; text that goes elsewhere is left as it is. */
function onTerminal(text: string, format: ReportFormat): string {
  return format === 'md' ? text.replace(/^#+ .*$/gm, (line) => paint('bold', line)) : text;
}
