import { createHash } from 'node:crypto';
import { AppError } from '../model/error.ts';
import type { EventRow } from '../model/event.ts';
import { EVENT_TEXT_LIMIT } from '../model/harness.ts';
import { cutOf } from '../store/event-data.ts';
import type { Store } from '../store/store.ts';
import { recentToolEvents } from '../store/watched.ts';
import { readFrom } from '../sys/tail.ts';
import { turnFiles } from '../sys/turn-files.ts';

/** Calls that may be open at the same time: their events belong to none that counts. */
const OPEN_CALLS = 8;
/** A longer line is not read for a comparison. */
const MAX_LINE_BYTES = 256 * 1024;

interface ToolData {
  tool?: string;
  tool_id?: string | null;
  input?: string;
  output?: string;
  is_error?: boolean;
}

interface Call {
  id: string | null;
  parts: string[];
  isAnswered: boolean;
  isComparable: boolean;
}

/**
 * The newest answered tool calls of a turn, oldest first, each as one text for its tool, input and answer; equal texts are
 * equal calls. A call whose full text is not known (its line is gone, or too long) is null: it equals none. Not `exact`:
 * long texts are told apart by their heads alone, which is cheap and finds every repetition, and some that are none.
 */
export async function recentCalls(
  store: Store,
  turn: { session_id: string; turn: number; dir: string },
  { count, exact }: { count: number; exact: boolean },
): Promise<(string | null)[]> {
  const calls: Call[] = [];
  for (const row of await recentToolEvents(store, turn, 2 * (count + OPEN_CALLS))) {
    const data = JSON.parse(row.data_json) as ToolData;
    const part = row.type === 'tool_use' ? [data.tool, data.input] : [data.is_error, data.output];
    const whole = exact ? wholeText(turn.dir, row, part) : JSON.stringify(part);
    if (row.type === 'tool_use') {
      calls.push({ id: data.tool_id ?? null, parts: [whole ?? ''], isAnswered: false, isComparable: whole !== null });
      continue;
    }
    // Without an id the answer is that of the oldest call that waits for one.
    const call = calls.find((each) => !each.isAnswered && (data.tool_id == null || each.id === data.tool_id));
    if (call === undefined) continue;
    call.parts.push(whole ?? '');
    call.isAnswered = true;
    call.isComparable &&= whole !== null;
  }
  const answered = calls.filter((call) => call.isAnswered).slice(-count);
  return answered.map((call) => (call.isComparable ? digest(call.parts.join('\0')) : null));
}

/** One text that identifies what a row says; null when only a part of it is known. */
function wholeText(dir: string, row: EventRow, part: unknown[]): string | null {
  const known = JSON.stringify(part);
  const isCut = cutOf(row) !== null || part.some((text) => typeof text === 'string' && isShortened(text));
  if (!isCut) return known;
  const line = row.line_offset === null ? null : lineAt(turnFiles(dir).stdout, row.line_offset);
  if (line === null) return null;
  try {
    return known + JSON.stringify(lasting(JSON.parse(line)));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** The adapters cut a text that is longer than an event may be. */
function isShortened(text: string): boolean {
  return text.length >= EVENT_TEXT_LIMIT && text.endsWith('…');
}

function lineAt(path: string, offset: number): string | null {
  try {
    const bytes = readFrom(path, offset, MAX_LINE_BYTES);
    const end = bytes.indexOf(10);
    return end < 0 ? null : bytes.subarray(0, end).toString('utf8');
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}

/** Below these everything is what the agent asked for. */
const ARGUMENTS = new Set(['input', 'parameters', 'arguments', 'args']);
/** What a harness says anew with every line: who, when, and what it has cost so far. */
const PASSING = /id$|uuid|time|stamp|usage|tokens|cost|duration/i;

/** A line without what differs between two that say the same. */
function lasting(value: unknown, isArgument = false): unknown {
  if (Array.isArray(value)) return value.map((each) => lasting(each, isArgument));
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .filter(([key]) => isArgument || !PASSING.test(key))
    .map(([key, inner]) => [key, lasting(inner, isArgument || ARGUMENTS.has(key))]);
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
