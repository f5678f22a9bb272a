/** Ten years: the sum of it and of a time is still one that every clock and database can hold. */
const LONGEST_MS = 3_650 * 86_400_000;

/** `90` (ms), `30s`, `10m`, `2h`, `1d` → milliseconds; NaN when it is none of these, or longer than 3650d. */
export function parseDuration(word: string): number {
  const match = /^(\d+)(ms|s|m|h|d)?$/.exec(word);
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? 'ms'] ?? Number.NaN;
  const ms = match ? Number(match[1]) * unit : Number.NaN;
  return ms <= LONGEST_MS ? ms : Number.NaN;
}
