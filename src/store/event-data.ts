import type { EventRow } from '../model/event.ts';
import type { HarnessEvent } from '../model/harness.ts';

/** Characters of a long text that its row keeps; the line on disk has all of it. */
const HEAD_CHARS = 200;

/** The one field of an event that may be long. */
const LONG_FIELD: Partial<Record<string, string>> = {
  text: 'text',
  reasoning: 'text',
  result: 'text',
  tool_use: 'input',
  tool_result: 'output',
  error: 'message',
  status: 'detail',
};

type Fields = Record<string, unknown>;

/**
 * What a batch keeps of an event: its fields beside the type, for JSON. Of a long text only the head stays, with
 * `is_cut: true` and `nth`, the place of the event among those of its line, so that a reader finds the rest at
 * `line_offset`. Writing what is on disk anyway was most of the price of ingest.
 */
export function dataOf(event: HarnessEvent, nth: number): Fields {
  const fields = fieldsOf(event);
  const field = LONG_FIELD[event.type];
  if (field !== undefined) {
    const text = fields[field] as string;
    if (text.length > HEAD_CHARS) Object.assign(fields, { [field]: headOf(text), is_cut: true, nth });
  }
  return fields;
}

/** The place of the event in its line, for a row that keeps only the head of its text; null: the row has all of it. */
export function cutOf(row: Pick<EventRow, 'line_offset' | 'data_json'>): number | null {
  // Within a text the quotes are escaped, so the words of an agent are never taken for the mark.
  if (row.line_offset === null || !row.data_json.includes('"is_cut":true')) return null;
  const { nth } = JSON.parse(row.data_json) as Fields;
  return typeof nth === 'number' ? nth : null;
}

/** The row with the whole text of `event`; null when that is not what its head was taken from. */
export function completed(row: EventRow, event: HarnessEvent | undefined): EventRow | null {
  const field = LONG_FIELD[row.type];
  if (event === undefined || event.type !== row.type || field === undefined) return null;
  const { is_cut: _, nth: __, ...data } = JSON.parse(row.data_json) as Fields;
  const [head, text] = [data[field], fieldsOf(event)[field]];
  if (typeof head !== 'string' || typeof text !== 'string' || !text.startsWith(head)) return null;
  return { ...row, data_json: JSON.stringify({ ...data, [field]: text }) };
}

/** The row with `…` after the head, for when the line is gone; `is_cut` still says that there was more. */
export function withoutRest(row: EventRow): EventRow {
  const { nth: _, ...data } = JSON.parse(row.data_json) as Fields;
  const field = LONG_FIELD[row.type] ?? '';
  return { ...row, data_json: JSON.stringify({ ...data, [field]: `${data[field] ?? ''}…` }) };
}

/** The start of a text, without half a character at its end. */
function headOf(text: string): string {
  // Looking into the long text itself would put its parts together first, which is a copy of all of it.
  const head = text.slice(0, HEAD_CHARS);
  const last = head.charCodeAt(HEAD_CHARS - 1);
  return last >= 0xd800 && last < 0xdc00 ? head.slice(0, -1) : head;
}

/** An event without its type, which has a column of its own. By hand: taking a key away costs as much as all the rest. */
function fieldsOf(event: HarnessEvent): Fields {
  switch (event.type) {
    case 'session':
      return { native_session_id: event.native_session_id, model: event.model, version: event.version };
    case 'text':
      return event.is_delta ? { text: event.text, is_delta: true } : { text: event.text };
    case 'reasoning':
      return { text: event.text };
    case 'tool_use':
      return { tool: event.tool, tool_id: event.tool_id, input: event.input, files: event.files };
    case 'tool_result':
      return { tool_id: event.tool_id, is_error: event.is_error, output: event.output };
    case 'usage':
      return { mode: event.mode, tokens: event.tokens };
    case 'cost':
      return { mode: event.mode, cost_micros: event.cost_micros };
    case 'status':
      return {
        status: event.status,
        detail: event.detail,
        ...(event.quota === undefined ? {} : { quota: event.quota }),
      };
    case 'limit':
      return { limit: event.limit };
    case 'result': {
      const { ok, reason, text, model_turns, denials } = event;
      return { ok, reason, text, model_turns, denials };
    }
    case 'error':
      return { message: event.message, fatal: event.fatal };
    case 'custom':
      return { name: event.name };
  }
}
