import { stripTerminal } from '../harness/untrusted.ts';
import type { EventRow } from '../model/event.ts';
import type { SessionRow } from '../model/session.ts';
import { lastEvents } from '../store/event.ts';
import type { Deps } from './deps.ts';
import { Transcript } from './transcript.ts';

export interface TailLimits {
  /** Events that are shown, and bytes they may take together: the newest win. */
  events: number;
  bytes: number;
}

/** A text may come in pieces, one event each. */
const PIECES = 10;
const LINE_CHARS = 600;

/** The newest events of a session as plain lines, oldest first. */
export async function transcriptTail(
  deps: Pick<Deps, 'store' | 'env'>,
  session: SessionRow,
  limits: TailLimits,
): Promise<string> {
  const rows = await lastEvents(deps.store, session.id, limits.events * PIECES);
  const whole = await new Transcript(deps.store, session, deps.env).whole(rows);
  return newest(linesOf(whole).slice(-limits.events), limits.bytes).join('\n');
}

/** As many of the last ones as fit. */
function newest(lines: readonly string[], limit: number): string[] {
  let bytes = 0;
  const first = lines.findLastIndex((line) => {
    bytes += Buffer.byteLength(line) + 1;
    return bytes > limit;
  });
  return lines.slice(first + 1);
}

function linesOf(rows: readonly EventRow[]): string[] {
  const lines: string[] = [];
  let isTextOpen = false;
  for (const row of rows) {
    const data = JSON.parse(row.data_json) as Record<string, unknown>;
    const line = lineOf(row, data);
    if (line === null) continue;
    const isPiece = row.type === 'text' && data.is_delta === true;
    if (isPiece && isTextOpen) lines.push(`${lines.pop() ?? ''}${line}`);
    else lines.push(line);
    isTextOpen = row.type === 'text';
  }
  return lines.map((line) => clipped(stripTerminal(line)));
}

/** The start says what it is, the end how it ended. */
function clipped(line: string): string {
  if (line.length <= LINE_CHARS) return line;
  return `${line.slice(0, LINE_CHARS / 2)} … ${line.slice(-LINE_CHARS / 2)}`.toWellFormed();
}

function lineOf(row: EventRow, data: Record<string, unknown>): string | null {
  const text = (key: string) => (typeof data[key] === 'string' ? (data[key] as string) : '');
  switch (row.type) {
    case 'text':
      return text('text');
    case 'reasoning':
      return `(thinks) ${text('text')}`;
    case 'tool_use':
      return `→ ${text('tool')} ${text('input')}`;
    case 'tool_result':
      return `${data.is_error ? '✗' : '←'} ${text('output')}`;
    case 'result':
      return `■ ${data.ok ? 'result' : `failed: ${text('reason')}`}`;
    case 'limit':
    case 'warning':
      return `! ${JSON.stringify(data)}`;
    case 'error':
      return `! ${text('message')}`;
    case 'status':
      return `${text('status')} ${text('detail')}`;
    case 'turn_start':
      return `── turn ${row.turn} ──`;
    case 'turn_end':
      return `── turn ${row.turn}: ${text('outcome')} (${text('reason')}) ──`;
    default:
      return null;
  }
}

/** Foreign text with a mark before every line, so that none of them can pass for one of ours. */
export function quoteLines(text: string): string {
  return stripTerminal(text)
    .split(/[\n\u2028\u2029]/)
    .map((line) => `| ${line}`)
    .join('\n');
}
