import type { Report, Waiting } from '../model/report.ts';
import { durationText, oneLine, resumeText, type Section, sectionsOf, timeText } from './report-text.ts';

/** The report as Markdown: the same page on a terminal, in a repository and in a browser. Text of others opens nothing in it. */
export function reportMarkdown(report: Report): string {
  const { plan, run, timezone } = report;
  const name = oneLine(plan?.name ?? run.name);
  const facts = [
    `- ${plan === null ? 'Run' : 'Plan'}: ${escaped(name)} (${plan?.id ?? run.id}${plan === null ? '' : `, run ${run.id}`})`,
    `- From ${timeText(report.started_at, timezone)} to ${report.ended_at === null ? 'now' : timeText(report.ended_at, timezone)} (${escaped(timezone)}), ${durationText(report.took_ms)}`,
    ...(plan?.reason == null ? [] : [`- The plan is ${plan.state}: ${escaped(plan.reason)}`]),
    `- As of ${timeText(report.made_at, timezone)}, from the database`,
  ];
  const blocks = [
    `# ${escaped(report.headline)}`,
    facts.join('\n'),
    waitingBlock(report.waiting, timezone),
    ...sectionsOf(report).map(sectionBlock),
  ];
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n`;
}

function waitingBlock(waiting: readonly Waiting[], zone: string): string {
  if (waiting.length === 0) return '';
  const items = waiting.map((each) => {
    const who = each.step_id === null ? each.name : `${each.step_id}, session ${each.name}`;
    const since = each.since_at === null ? '' : ` since ${timeText(each.since_at, zone)}`;
    const goesOn = resumeText(each, zone);
    const lines = [
      `- **${escaped(oneLine(who))}**: ${escaped(oneLine(each.reason))}${since}${goesOn === '' ? '' : `, ${escaped(goesOn)}`}`,
      ...(each.evidence === null ? [] : [`  - ${escaped(oneLine(each.evidence))}`]),
      ...each.commands.map((command) => `  - ${code(command)}`),
    ];
    return lines.join('\n');
  });
  return `## What waits\n\n${items.join('\n')}`;
}

function sectionBlock({ title, header, rows, left, notes }: Section): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => escaped(oneLine(cell))).join(' | ')} |`;
  const table = [line(header), `|${header.map(() => ' --- |').join('')}`, ...rows.map(line)].join('\n');
  const more = left === 0 ? [] : [`${left} more: --format json has all of them.`];
  return [`## ${title}`, table, ...more, ...notes.map(escaped)].join('\n\n');
}

/** Text as text: nothing in it is markup, a link, or the end of a cell. An underscore within a word is left alone. */
function escaped(text: string): string {
  return oneLine(text, 1_000)
    .replace(/[\\`*[\]<>|~&]/g, '\\$&')
    .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, '\\_')
    .replace(/:\/\//g, ':\\/\\/')
    .replace(/^(?=[#+=-])/, '\\')
    .replace(/^(\d+)([.)])/, '$1\\$2');
}

/** One line of code, in more backticks than it has. */
function code(text: string): string {
  const line = oneLine(text, 2_000);
  const longest = Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length));
  if (longest === 0) return `\`${line}\``;
  const fence = '`'.repeat(longest + 1);
  return `${fence} ${line} ${fence}`;
}
