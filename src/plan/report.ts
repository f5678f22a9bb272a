import { AppError } from '../model/error.ts';
import { MAIL_SUBJECT_LIMIT } from '../model/mail.ts';
import type { PlanSettings } from '../model/plan.ts';
import type { Report } from '../model/report.ts';
import { buildReport } from '../model/report-build.ts';
import { quoted } from '../model/shell.ts';
import type { Deps } from '../session/deps.ts';
import { keepReport, placeReport } from '../session/report-file.ts';
import { getPlan } from '../store/plan.ts';
import { reportRows, tellReport } from '../store/report.ts';
import type { Store } from '../store/store.ts';
import { reportHtml } from './report-html.ts';
import { reportJson } from './report-json.ts';
import { reportMarkdown } from './report-md.ts';
import { oneLine } from './report-text.ts';

export const REPORT_FORMATS = ['md', 'html', 'json'] as const;
export type ReportFormat = (typeof REPORT_FORMATS)[number];

const RENDER: Record<ReportFormat, (report: Report) => string> = {
  md: reportMarkdown,
  html: reportHtml,
  json: reportJson,
};

/** A report as text. */
export function renderReport(report: Report, format: ReportFormat): string {
  return RENDER[format](report);
}

/** The report of a run as it is now; null: there is no such run. Reads only. */
export async function reportOf(store: Store, run_id: string, now: number): Promise<Report | null> {
  const rows = await reportRows(store, run_id);
  return rows === null ? null : buildReport(rows, now);
}

/**
 * Writes the report of a plan that has ended, in every format to DROVER_HOME/reports and where the plan wants it, and mails
 * it to the operator, once: the files before, so that the mail never speaks of what is not there; the note and the mail in
 * one transaction, so that whoever dies in between is followed by somebody who does it again (I17). A file that cannot be
 * written is told in the mail. False: it has not ended, or was told of before.
 */
export async function writeReport(deps: Deps, plan_id: string): Promise<boolean> {
  const plan = await getPlan(deps.store, plan_id);
  if (plan === null || plan.ended_at === null || plan.reported_at !== null) return false;
  const report = await reportOf(deps.store, plan.run_id, deps.clock.now());
  if (report === null) return false;
  const written: string[] = [];
  const problems: string[] = [];
  for (const format of REPORT_FORMATS) {
    const name = `${plan.run_id}.${format}`;
    tried(problems, name, () => written.push(keepReport(deps.home, name, renderReport(report, format))));
  }
  const place = (JSON.parse(plan.settings_json) as PlanSettings).report;
  if (place !== null) {
    tried(problems, place, () => {
      placeReport(plan.repo_root, place, renderReport(report, formatOf(place)));
      written.push(`${plan.repo_root}/${place}`);
    });
  }
  const mail = mailOf(report, written, problems);
  return tellReport(deps.store, { plan_id, mail, now: deps.clock.now() });
}

/** What a file's name says it is. */
export function formatOf(path: string): ReportFormat {
  return REPORT_FORMATS.find((format) => path.toLowerCase().endsWith(`.${format}`)) ?? 'md';
}

function tried(problems: string[], name: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    problems.push(`${name}: ${error.message}`);
  }
}

function mailOf(report: Report, written: readonly string[], problems: readonly string[]) {
  const { verdict, headline, waiting, plan, run } = report;
  const name = oneLine(plan?.name ?? run.name, 64);
  const commands = waiting.flatMap((each) => each.commands);
  const shown = commands.slice(0, 20);
  const blocks = [
    headline,
    ...(shown.length === 0
      ? []
      : [
          `What moves on what waits:\n${shown.join('\n')}${commands.length > shown.length ? `\nand ${commands.length - shown.length} more, in the report` : ''}`,
        ]),
    `The report: drover report ${quoted(run.id)}${written.map((path) => `\n${oneLine(path, 1_000)}`).join('')}`,
    ...(problems.length === 0
      ? []
      : [`Could not be written:\n${problems.map((each) => oneLine(each, 1_000)).join('\n')}`]),
  ];
  return {
    type: 'status' as const,
    priority: verdict === 'done' ? ('normal' as const) : ('high' as const),
    subject: `Plan ${name}: ${headline}`.slice(0, MAIL_SUBJECT_LIMIT),
    body: blocks.join('\n\n'),
    payload_json: JSON.stringify({ plan: plan?.id ?? null, run: run.id, verdict, counts: report.counts, problems }),
  };
}
