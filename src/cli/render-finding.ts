import type { Finding } from '../model/finding.ts';
import { paint, type Style, safe, table } from './output.ts';

const COLOURS: Record<Finding['level'], Style> = { ok: 'green', warning: 'yellow', problem: 'red' };
const INDENT = '    ';

/** One line per finding, and below those that are not fine what to do about them. */
export function renderFindings(findings: readonly Finding[]): string {
  const lines = table(
    findings.map(({ level, check, what }) => [paint(COLOURS[level], level), paint('bold', safe(check)), safe(what)]),
  ).split('\n');
  return findings.flatMap((finding, i) => [lines[i] ?? '', ...adviceOf(finding)]).join('\n');
}

function adviceOf({ hint, fix, fixed }: Finding): string[] {
  const done = fix === null || fixed === undefined ? [] : [fixed ? `fixed: ${fix}` : `not fixed: ${fix}`];
  const offer = fix !== null && fixed === undefined ? [`drover doctor --fix would ${fix}`] : [];
  const way = hint === null || fixed === true ? [] : hint.split('\n');
  return [...way, ...offer, ...done].map((line) => INDENT + paint('dim', safe(line)));
}

/** The last line: how many, and whether anything is left to do. */
export function summaryOf(findings: readonly Finding[]): string {
  const fixed = findings.filter((finding) => finding.fixed === true);
  const left = (level: Finding['level']) =>
    findings.filter((finding) => finding.level === level && finding.fixed !== true).length;
  const parts = [`${count(left('problem'), 'problem')}`, `${count(left('warning'), 'warning')}`];
  if (fixed.length > 0) parts.push(`${fixed.length} fixed`);
  return parts.join(', ');
}

function count(n: number, what: string): string {
  return n === 0 ? `no ${what}` : `${n} ${what}${n === 1 ? '' : 's'}`;
}
