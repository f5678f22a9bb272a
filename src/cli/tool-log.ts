import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import type { Store } from '../store/store.ts';
import { toolCalls } from '../store/tool-log.ts';
import { systemClock } from '../sys/clock.ts';
import { age, clip, paint, printJson, table } from './output.ts';

export interface Page {
  page: string;
  pageSize: string;
}

/** A page of a session's tool calls, newest first (E-141). Throws `usage` (2). */
export async function printTools(store: Store, session: SessionRow, page: Page, isJson: boolean): Promise<void> {
  const wanted = { page: numberOf('--page', page.page), page_size: numberOf('--page-size', page.pageSize) };
  const found = await toolCalls(store, { session_id: session.id, ...wanted });
  if (isJson) return printJson({ ...found });
  if (found.calls.length === 0) return console.log(found.total === 0 ? 'no tool calls' : 'no tool calls on this page');
  const now = systemClock.now();
  const header = ['WHEN', 'TURN', 'TOOL', 'TOOK', 'INPUT', 'OUTPUT'].map((cell) => paint('dim', cell));
  const lines = found.calls.map((call) => [
    `${age(now - call.at)} ago`,
    call.turn === null ? '-' : String(call.turn),
    call.is_error === true ? paint('red', clip(call.tool, 30)) : clip(call.tool, 30),
    call.duration_ms === null ? '-' : age(call.duration_ms),
    clip(call.input, 60),
    clip(call.output ?? '', 60),
  ]);
  console.log(table([header, ...lines]));
  const pages = Math.ceil(found.total / found.page_size);
  console.log(paint('dim', `page ${found.page} of ${pages}, ${found.total} calls`));
}

function numberOf(option: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new AppError('usage', 'usage', `${option} wants a whole number above 0, not ${JSON.stringify(text)}.`);
}
