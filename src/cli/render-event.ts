import type { EventRow } from '../model/event.ts';
import type { TokenCounts } from '../model/usage.ts';
import { clip, dollars, paint, safe, tokens } from './output.ts';

/** Pieces of one text (C-03) become one event for the eye; each piece stays an event of its own in the store. */
export function joinPieces(rows: readonly EventRow[]): EventRow[] {
  const joined: EventRow[] = [];
  for (const row of rows) {
    const last = joined.at(-1);
    const piece = row.type === 'text' ? (JSON.parse(row.data_json) as { text: string; is_delta?: boolean }) : null;
    if (piece?.is_delta && last?.type === 'text' && last.turn === row.turn) {
      const text = (JSON.parse(last.data_json) as { text: string }).text + piece.text;
      joined[joined.length - 1] = { ...last, seq: row.seq, data_json: JSON.stringify({ text }) };
    } else joined.push(row);
  }
  return joined;
}

/** One event as a line for people; null for those that say nothing to them. */
export function renderEvent(row: EventRow, width = 160): string | null {
  const data = JSON.parse(row.data_json) as Record<string, unknown>;
  const text = (key: string) => (typeof data[key] === 'string' ? (data[key] as string) : '');
  switch (row.type) {
    case 'text':
      return safeLines(text('text'));
    case 'reasoning':
      return paint('dim', clip(`(thinks) ${text('text')}`, width));
    case 'tool_use':
      return `${paint('cyan', `→ ${safe(text('tool'))}`)} ${clip(text('input'), width)}${filesText(data.files)}`;
    case 'tool_result':
      return paint('dim', `${data.is_error ? '✗' : '←'} ${clip(text('output'), width)}`);
    case 'limit':
      return paint('yellow', `! ${clip(limitText(data.limit), width)}`);
    case 'error':
      return paint('red', `! ${clip(text('message'), width)}`);
    case 'warning':
      return paint('yellow', `! ${clip(warningText(data), width)}`);
    case 'result':
      return paint(
        data.ok ? 'green' : 'red',
        `■ ${data.ok ? 'result' : `failed: ${clip(text('reason'), width)}`}${deniedText(data.denials)}`,
      );
    case 'session':
      return paint('dim', clip(`session ${text('native_session_id')} ${text('model')} ${text('version')}`, width));
    case 'usage':
      return usageText(data.tokens, data.mode);
    case 'cost':
      return paint('dim', `cost ${dollars(typeof data.cost_micros === 'number' ? data.cost_micros : null)}`);
    case 'turn_start':
      return paint('bold', `── turn ${row.turn} ──`);
    case 'turn_end':
      return paint('bold', `── turn ${row.turn}: ${text('outcome')} (${safe(text('reason'))})${leftText(data)} ──`);
    case 'hook':
      return paint(
        data.ok ? 'dim' : 'yellow',
        clip(`hook ${text('hook')}${data.ok ? '' : ` failed: ${hookEnd(data)}${text('output')}`}`, width),
      );
    case 'gate':
      return paint(
        data.verdict === 'green' ? 'green' : 'yellow',
        clip(
          `gate ${text('verdict')}${data.verdict === 'green' ? '' : `: ${text('command')}: ${text('reason')}`}`,
          width,
        ),
      );
    case 'status':
      return paint('dim', clip(`${text('status')} ${text('detail')}`, width));
    default:
      return null;
  }
}

/** How a hook that failed ended, before what it said: it may have said nothing. */
function hookEnd({ code, signal, timed_out, took_ms, output }: Record<string, unknown>): string {
  const how = timed_out === true ? `ended after ${took_ms} ms` : code === null ? `by ${signal}` : `exit code ${code}`;
  return output === '' ? how : `${how}: `;
}

/** `, ended 2 processes left behind, 1 did not go`; nothing when the turn cleaned up after itself. */
function leftText({ leftovers, survivors }: Record<string, unknown>): string {
  const count = (value: unknown) => (typeof value === 'number' ? value : 0);
  const ended = count(leftovers);
  const ones = ended === 1 ? 'process' : 'processes';
  const left = ended === 0 ? '' : `, ended ${ended} ${ones} left behind`;
  return count(survivors) === 0 ? left : `${left}, ${count(survivors)} did not go`;
}

function limitText(limit: unknown): string {
  if (typeof limit !== 'object' || limit === null) return 'limit';
  const { kind, message } = limit as { kind?: string; message?: string };
  return `${kind ?? 'limit'}: ${message ?? ''}`;
}

function filesText(files: unknown): string {
  if (!Array.isArray(files) || files.length === 0) return '';
  const names = files.map((file) => `${(file as { action?: string }).action} ${(file as { path?: string }).path}`);
  return paint('dim', ` (${clip(names.join(', '), 120)})`);
}

function deniedText(denials: unknown): string {
  return Array.isArray(denials) && denials.length > 0 ? `, denied: ${clip(denials.join(', '), 120)}` : '';
}

/** `resume_mismatch: expected a, observed b`: the name first, then its particulars. */
function warningText(data: Record<string, unknown>): string {
  const { warning, ...rest } = data;
  const details = Object.entries(rest).map(
    ([key, value]) => `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return [typeof warning === 'string' ? warning : null, details.join(', ')].filter(Boolean).join(': ');
}

/** New spending or a running total (`so far`); null when nothing was spent. */
function usageText(counts: unknown, mode: unknown): string | null {
  if (typeof counts !== 'object' || counts === null) return null;
  const { input_tokens = 0, output_tokens = 0, cache_read_tokens = 0 } = counts as Partial<TokenCounts>;
  if (input_tokens + output_tokens + cache_read_tokens === 0) return null;
  const cached = cache_read_tokens > 0 ? `, ${tokens(cache_read_tokens)} cached` : '';
  return paint(
    'dim',
    `tokens in ${tokens(input_tokens)}, out ${tokens(output_tokens)}${cached}${mode === 'add' ? '' : ', so far'}`,
  );
}

function safeLines(text: string): string {
  return text.split('\n').map(safe).join('\n');
}
