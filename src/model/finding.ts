/** `warning`: worth knowing, nothing is lost by it. `problem`: something is broken, and `drover doctor` exits with 1. */
export type FindingLevel = 'ok' | 'warning' | 'problem';

/** What `drover doctor` found out about one thing. */
export interface Finding {
  /** What was looked at: `home`, `locks`, `I3` … */
  check: string;
  level: FindingLevel;
  what: string;
  /** The way out for a person; commands stand on lines of their own. Null when there is nothing to do. */
  hint: string | null;
  /** What `--fix` would do about it; null when it leaves that to a person. */
  fix: string | null;
  /** Only after `--fix`: whether that was done. */
  fixed?: boolean;
}

/** A finding and the act that mends it: safe, and it destroys nothing. It throws, or says what it did. */
export interface Diagnosis {
  finding: Finding;
  mend: (() => Promise<string>) | null;
}

export function fine(check: string, what: string): Diagnosis {
  return { finding: { check, level: 'ok', what, hint: null, fix: null }, mend: null };
}

export function warning(check: string, what: string, hint: string | null = null): Diagnosis {
  return { finding: { check, level: 'warning', what, hint, fix: null }, mend: null };
}

export function problem(check: string, what: string, hint: string | null = null): Diagnosis {
  return { finding: { check, level: 'problem', what, hint, fix: null }, mend: null };
}

/** The same with something that `--fix` can do; `fix` says what, in the infinitive. */
export function mendable(diagnosis: Diagnosis, fix: string, mend: () => Promise<string>): Diagnosis {
  return { finding: { ...diagnosis.finding, fix }, mend };
}

/** Nothing is broken any more: no problem, but those that `--fix` has mended. */
export function isHealthy(findings: readonly Finding[]): boolean {
  return findings.every((finding) => finding.level !== 'problem' || finding.fixed === true);
}
