import type { ChalkInstance } from 'chalk';

/** Version of the JSON shapes; it grows when a field changes its meaning or goes. */
export const SCHEMA_VERSION = 1;

/** Every `_at` column becomes ISO-8601 UTC at this edge and nowhere else (ARCHITECTURE §3). */
function outward(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(outward);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== 'token_hash')
      .map(([key, inner]) =>
        (key.endsWith('_at') || key === 'at') && typeof inner === 'number'
          ? [key, isInstant(inner) ? instantText(inner) : inner]
          : [key, outward(inner)],
      ),
  );
}

function isInstant(ms: number): boolean {
  return !Number.isNaN(new Date(ms).getTime());
}

/** Wall ms as ISO-8601 UTC; one that no `Date` holds stays the number it is. */
export function instantText(ms: number): string {
  return isInstant(ms) ? new Date(ms).toISOString() : String(ms);
}

let isAnswered = false;

/** True when the one object of this call has been printed; what fails afterwards goes to standard error. */
export function hasAnswered(): boolean {
  return isAnswered;
}

/** One JSON object on standard output: the whole answer of a verb under `--json` (O-90). */
export function printJson(body: Record<string, unknown>): void {
  isAnswered = true;
  console.log(jsonLine(body));
}

/** The same as one line of a stream of objects, without its end. */
export function jsonLine(body: Record<string, unknown>): string {
  return JSON.stringify({ schema_version: SCHEMA_VERSION, ok: true, ...(outward(body) as Record<string, unknown>) });
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan' | 'magenta';

let chalk: ChalkInstance | null = null;

/** Loads chalk only when colours are on; Bun knows (TTY, NO_COLOR, FORCE_COLOR) without touching the stream. */
export async function loadColours(): Promise<void> {
  if (Bun.enableANSIColors) chalk = new (await import('chalk')).Chalk({ level: 1 });
}

export function paint(style: Style, text: string): string {
  return chalk === null ? text : chalk[style](text);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Text of others, safe to print: no terminal control, no bidi override. */
export function safe(text: string): string {
  return Bun.stripANSI(text).replace(CONTROL, '');
}

/**
 * Columns padded to their widest cell; the last one is left as it is. Plain loops: this runs once, before anything is
 * compiled, over every cell that `status` shows.
 */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (let i = 0; i < row.length; i += 1) widths[i] = Math.max(widths[i] ?? 0, Bun.stringWidth(row[i] ?? ''));
  }
  let text = '';
  for (const row of rows) {
    let line = '';
    for (let i = 0; i < row.length; i += 1) {
      const cell = row[i] ?? '';
      line += cell + ' '.repeat((widths[i] ?? 0) - Bun.stringWidth(cell) + 2);
    }
    text += `${line.trimEnd()}\n`;
  }
  return text.slice(0, -1);
}

/** `850ms`, `12s`, `3m`, `2h`, `4d`: never negative. */
export function age(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 100) return `${s}s`;
  if (s < 6_000) return `${Math.round(s / 60)}m`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)}h`;
  return `${Math.round(s / 86_400)}d`;
}

/** `-` when unknown; four decimals (E-001). */
export function dollars(micros: number | null): string {
  return micros === null ? '-' : `$${(micros / 1_000_000).toFixed(4)}`;
}

/** `0.4 MB`, `512 MB`. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(bytes < 10_485_760 ? 1 : 0)} MB`;
}

export function tokens(count: number): string {
  if (count < 1000) return String(count);
  return count < 1_000_000 ? `${(count / 1000).toFixed(1)}k` : `${(count / 1_000_000).toFixed(1)}M`;
}

/** Words of printable ASCII with single blanks between them: nothing to make safe, and as wide as it is long. */
const PLAIN = /^[!-~]+(?: [!-~]+)*$/;

/** One line, cut to `width` columns. */
export function clip(text: string, width: number): string {
  if (text.length <= width && PLAIN.test(text)) return text;
  const line = safe(text).replace(/\s+/g, ' ').trim();
  return Bun.stringWidth(line) <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`;
}
