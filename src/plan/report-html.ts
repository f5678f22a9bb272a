import type { Report, Waiting } from '../model/report.ts';
import { durationText, oneLine, resumeText, type Section, sectionsOf, timeText } from './report-text.ts';
import { timelineSvg, xml } from './timeline-svg.ts';

const STYLE = `:root{color-scheme:light dark;--t:#1c1e21;--b:#fff;--m:#5b626d;--l:#dde1e6;--k:#f4f5f7}
@media (prefers-color-scheme:dark){:root{--t:#e6e6e6;--b:#17191c;--m:#9aa1ab;--l:#33383f;--k:#22252a}}
body{margin:0 auto;padding:1rem;max-width:62rem;background:var(--b);color:var(--t);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.35rem;line-height:1.3;padding:.6rem .8rem;border-left:.4rem solid var(--m);background:var(--k)}
h1.done{border-color:#2b7a4b}h1.failed{border-color:#c43c3c}h1.parked{border-color:#c9822b}h1.running{border-color:#3a6fb0}
h2{font-size:1.1rem;margin-top:1.8rem}.facts,.note{color:var(--m)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.875rem}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid var(--l);min-width:3rem;max-width:24rem;overflow-wrap:anywhere}
th{color:var(--m);font-weight:600;white-space:nowrap}code{background:var(--k);padding:.1rem .3rem;font-size:.875rem}
svg{max-width:100%;height:auto}li p{margin:.2rem 0}`;

/**
 * The report as one page: nothing is loaded, nothing runs, everything of others is text. The policy in its head says the
 * same to the browser.
 */
export function reportHtml(report: Report): string {
  const { plan, run, timezone, verdict, headline } = report;
  const name = plan?.name ?? run.name;
  const end = report.ended_at === null ? 'now' : timeText(report.ended_at, timezone);
  const facts = [
    `${plan === null ? 'Run' : 'Plan'} ${text(name)} (${text(plan?.id ?? run.id)})`,
    `from ${timeText(report.started_at, timezone)} to ${end} (${text(timezone)}), ${durationText(report.took_ms)}`,
    ...(plan?.reason == null ? [] : [`the plan is ${plan.state}: ${text(plan.reason)}`]),
    `as of ${timeText(report.made_at, timezone)}, from the database`,
  ];
  const picture = timelineSvg(report);
  return [
    '<!DOCTYPE html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${text(name)}: ${text(headline)}</title>`,
    `<style>${STYLE}</style>`,
    '</head>',
    '<body>',
    `<h1 class="${verdict}">${text(headline)}</h1>`,
    `<p class="facts">${facts.join('; ')}</p>`,
    ...waitingBlock(report.waiting, timezone),
    ...(picture === '' ? [] : [`<h2>The night</h2>`, picture]),
    ...sectionsOf(report).flatMap(sectionBlock),
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

function waitingBlock(waiting: readonly Waiting[], zone: string): string[] {
  if (waiting.length === 0) return [];
  const items = waiting.map((each) => {
    const who = each.step_id === null ? each.name : `${each.step_id}, session ${each.name}`;
    const since = each.since_at === null ? '' : ` since ${timeText(each.since_at, zone)}`;
    const goesOn = resumeText(each, zone);
    return [
      `<li><p><strong>${text(who)}</strong>: ${text(each.reason)}${since}${goesOn === '' ? '' : `, ${text(goesOn)}`}</p>`,
      ...(each.evidence === null ? [] : [`<p class="note">${text(each.evidence)}</p>`]),
      ...each.commands.map((command) => `<p><code>${text(command, 2_000)}</code></p>`),
      '</li>',
    ].join('');
  });
  return ['<h2>What waits</h2>', '<ul>', ...items, '</ul>'];
}

function sectionBlock({ title, header, rows, left, notes }: Section): string[] {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${text(cell)}</${tag}>`).join('')}</tr>`;
  return [
    `<h2>${text(title)}</h2>`,
    '<div class="wide"><table>',
    `<thead>${row(header, 'th')}</thead>`,
    '<tbody>',
    ...rows.map((cells) => row(cells, 'td')),
    '</tbody>',
    '</table></div>',
    ...(left === 0 ? [] : [`<p class="note">${left} more: --format json has all of them.</p>`]),
    ...notes.map((note) => `<p class="note">${text(note)}</p>`),
  ];
}

function text(value: string, length = 1_000): string {
  return xml(oneLine(value, length));
}
