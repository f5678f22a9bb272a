import type { LinesReport } from './campaign.ts';

const CASES_SHOWN = 20;

/** The report as one object: counts, then the cases behind those whose goal is 0. */
export function asObject(
  { lines, double_reservations, bugs, info }: LinesReport,
  whole: { seed: number; small: boolean },
) {
  const { lost, uncommitted_lost, ...counts } = lines;
  const zero = { lost, uncommitted_lost, double_reservations, bugs };
  const cases = Object.fromEntries(Object.entries(zero).filter(([, found]) => found.length > 0));
  return {
    ok: Object.keys(cases).length === 0,
    ...whole,
    ...counts,
    ...{ lost: lost.length, uncommitted_lost: uncommitted_lost.length },
    ...{ double_reservations: double_reservations.length, bugs: bugs.length },
    ...info,
    cases: Object.fromEntries(Object.entries(cases).map(([name, found]) => [name, found.slice(0, CASES_SHOWN)])),
  };
}

/** The same for people, one figure a line. */
export function text({ cases, ...figures }: ReturnType<typeof asObject>): string {
  const shown = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  const lines = Object.entries(figures).map(([name, value]) => `${name}: ${shown(value)}`);
  for (const [name, found] of Object.entries(cases)) lines.push('', `${name}:`, ...found.map((each) => `  ${each}`));
  return lines.join('\n');
}
