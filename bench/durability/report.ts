/** What a campaign found. */
export interface Report {
  /** Figures whose goal is 0, as the cases behind each. */
  zero: Record<string, readonly string[]>;
  /** Figures that are measured; null: not measured. */
  numbers: Record<string, number | null>;
  /** How much was done for it. */
  info: Record<string, unknown>;
}

interface Whole {
  seed: number;
  small: boolean;
  failures: readonly string[];
}

const CASES_SHOWN = 5;
/** Measured figures that have a goal: the most they may be. */
const AT_MOST: Record<string, number> = {
  ...{ limit_extra_calls: 1, limit_doubled_turns: 0, limit_unfinished: 0, limit_attempts_spent: 0 },
};

/** What a figure measures, for those whose name does not say it. */
const MEANINGS: Record<string, string> = {
  ...{
    detect_ms_p50: 'from overdue to the decision to end it',
    detect_ms_p99: 'from overdue to the decision to end it',
  },
  ...{ settle_ms_p50: "from its harness's own end to its turn's end" },
  ...{ settle_ms_p99: "from its harness's own end to its turn's end" },
  early_ends: 'sick ones ended before they were overdue; in none of the times',
};

/** All figures side by side, then what was found; `ok` when every figure with the goal 0 is 0. */
export function asObject(reports: ReadonlyMap<string, Report>, whole: Whole) {
  const figures: Record<string, number | null> = {};
  const cases: Record<string, readonly string[]> = {};
  let ok = whole.failures.length === 0;
  for (const { zero, numbers } of reports.values()) {
    for (const [name, found] of Object.entries(zero)) {
      figures[name] = found.length;
      if (found.length > 0) cases[name] = found.slice(0, 20);
      ok &&= found.length === 0;
    }
    Object.assign(figures, numbers);
    for (const [name, most] of Object.entries(AT_MOST)) ok &&= (numbers[name] ?? 0) <= most;
  }
  const info = Object.fromEntries([...reports].map(([name, report]) => [name, report.info]));
  return { ok, ...whole, ...figures, cases, info };
}

/** The same for people. */
export function table(reports: ReadonlyMap<string, Report>, seed: number): string {
  const lines = [`seed ${seed}`];
  for (const [name, { zero, numbers, info }] of reports) {
    lines.push('', `${name} campaign`);
    for (const [figure, found] of Object.entries(zero)) {
      lines.push(`  ${figure.padEnd(22)} ${String(found.length).padStart(6)}  ${found.length === 0 ? 'ok' : 'goal 0'}`);
      lines.push(...found.slice(0, CASES_SHOWN).map((each) => `      ${each}`));
      if (found.length > CASES_SHOWN) lines.push(`      and ${found.length - CASES_SHOWN} more`);
    }
    for (const [figure, value] of Object.entries(numbers)) {
      const shown = `  ${figure.padEnd(22)} ${(value === null ? '-' : String(Math.round(value))).padStart(6)}`;
      lines.push(`${shown}  ${MEANINGS[figure] ?? ''}`.trimEnd());
    }
    for (const [what, value] of Object.entries(info)) lines.push(`  ${what.padEnd(22)} ${JSON.stringify(value)}`);
  }
  return lines.join('\n');
}
