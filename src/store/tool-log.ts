import { AppError } from '../model/error.ts';
import type { EventRow } from '../model/event.ts';
import type { Store, Tx } from './store.ts';

/** One call of a tool with its answer, as the session's events tell it (E-141). */
export interface ToolCall {
  seq: number;
  turn: number | null;
  tool: string;
  tool_id: string | null;
  input: string;
  /** Null while it has none, or when the harness does not say which call an answer is of. */
  output: string | null;
  is_error: boolean | null;
  /** From the call's line to its answer's, as they were read. */
  duration_ms: number | null;
  at: number;
}

export interface ToolPage {
  page: number;
  page_size: number;
  total: number;
  /** Newest first. */
  calls: ToolCall[];
}

interface Said {
  tool?: string;
  tool_id?: string | null;
  input?: string;
  output?: string;
  is_error?: boolean;
}

/** Answers that are looked through for those of a page. */
const ANSWERS = 4;

/**
 * A page of the tool calls of one session, newest first, with their number (E-140, E-141): the events are the log, there is no
 * second one. Throws `usage` (2) for pages below 1 and sizes below 1.
 */
export async function toolCalls(
  store: Store,
  { session_id, page, page_size }: { session_id: string; page: number; page_size: number },
): Promise<ToolPage> {
  if (!(Number.isInteger(page) && page >= 1 && Number.isInteger(page_size) && page_size >= 1 && page_size <= 10_000))
    throw new AppError('usage', 'usage', 'A page wants a number above 0, and from 1 to 10000 rows.');
  return store.read((tx) => {
    const where = "session_id = :session_id AND type = 'tool_use'";
    const total = tx.get<{ n: number }>(`SELECT count(*) AS n FROM events WHERE ${where}`, { session_id })?.n ?? 0;
    const rows = tx.all<EventRow>(
      `SELECT * FROM events WHERE ${where} ORDER BY seq DESC LIMIT :page_size OFFSET :skip`,
      { session_id, page_size, skip: (page - 1) * page_size },
    );
    return { page, page_size, total, calls: withAnswers(tx, session_id, rows) };
  });
}

function withAnswers(tx: Tx, session_id: string, uses: readonly EventRow[]): ToolCall[] {
  const oldest = uses.at(-1);
  if (oldest === undefined) return [];
  const rows = tx.all<EventRow>(
    `SELECT * FROM events WHERE session_id = :session_id AND type = 'tool_result' AND seq > :seq ORDER BY seq LIMIT :limit`,
    { session_id, seq: oldest.seq, limit: ANSWERS * uses.length },
  );
  const answers = new Map<string, { row: EventRow; said: Said }>();
  for (const row of rows) {
    const said = JSON.parse(row.data_json) as Said;
    const key = `${row.turn} ${said.tool_id}`;
    if (said.tool_id != null && !answers.has(key)) answers.set(key, { row, said });
  }
  return uses.map((use) => callOf(use, answers.get(`${use.turn} ${(JSON.parse(use.data_json) as Said).tool_id}`)));
}

function callOf(use: EventRow, answer: { row: EventRow; said: Said } | undefined): ToolCall {
  const { tool = '', tool_id = null, input = '' } = JSON.parse(use.data_json) as Said;
  return {
    ...{ seq: use.seq, turn: use.turn, tool, tool_id, input, at: use.at },
    output: answer?.said.output ?? null,
    is_error: answer?.said.is_error ?? null,
    duration_ms: answer === undefined ? null : answer.row.at - use.at,
  };
}
