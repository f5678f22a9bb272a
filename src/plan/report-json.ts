import type { Report } from '../model/report.ts';

/** The report for programs: every field of it, `_at` in ISO-8601 UTC. */
export function reportJson(report: Report): string {
  return `${JSON.stringify(outward(report), null, 2)}\n`;
}

function outward(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(outward);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      isInstant(key, inner) ? new Date(inner).toISOString() : outward(inner),
    ]),
  );
}

function isInstant(key: string, value: unknown): value is number {
  return (
    (key === 'at' || key.endsWith('_at')) && typeof value === 'number' && Number.isFinite(new Date(value).getTime())
  );
}
