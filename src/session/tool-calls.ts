import { createHash } from 'node:crypto';
import { AppError } from '../model/error.ts';
import type { EventRow } from '../model/event.ts';
import { EVENT_TEXT_LIMIT } from '../model/harness.ts';
import { cutOf } from '../store/event-data.ts';
import type { Store } from '../store/store.ts';
import { recentToolEvents, textAfter, toolPart } from '../store/watched.ts';
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

/** Texts by which calls are told apart: equal texts are equal calls. Null is one that equals none. */
export interface AnsweredCall {
  /** Tool and input. */
  use: string | null;
  /** Tool, input and answer. */
  whole: string | null;
  /** What its two rows say (`toolPart`). */
  parts: readonly string[];
  answered_at: number;
}

/** What a turn has done lately. */
export interface RecentCalls {
  /** Oldest first. */
  answered: AnsweredCall[];
  /** The calls that wait for an answer, by tool and input, oldest first. */
  open: (string | null)[];
  /** The newest tool event; 0: there is none. */
  seq: number;
  /** Characters of text since. */
  said: number;
}

interface Call {
  id: string | null;
  use: string | null;
  parts: string[];
  /** null: it waits for its answer. */
  answer: { text: string | null; at: number } | null;
}

/**
 * The newest tool calls of a turn and what it has said since. A text that is not known whole (its line is gone, or too
 * long) makes its call equal to none. Not `exact`: long texts are told apart by their heads alone, which is cheap and finds
 * every repetition, and some that are none.
 */
export async function recentCalls(
  store: Store,
  turn: { session_id: string; turn: number; dir: string },
  { count, exact }: { count: number; exact: boolean },
): Promise<RecentCalls> {
  const calls: Call[] = [];
  const rows = await recentToolEvents(store, turn, 2 * (count + OPEN_CALLS));
  for (const row of rows) {
    const data = JSON.parse(row.data_json) as ToolData;
    const part = row.type === 'tool_use' ? [data.tool, data.input] : [data.is_error, data.output];
    const whole = exact ? wholeText(turn.dir, row, part) : JSON.stringify(part);
    if (row.type === 'tool_use') {
      calls.push({ id: data.tool_id ?? null, use: whole, parts: [toolPart(row)], answer: null });
      continue;
    }
    // Without an id the answer is that of the oldest call that waits for one.
    const call = calls.find((each) => each.answer === null && (data.tool_id == null || each.id === data.tool_id));
    if (call === undefined) continue;
    call.parts.push(toolPart(row));
    call.answer = { text: whole, at: row.at };
  }
  const seq = rows.at(-1)?.seq ?? 0;
  return {
    answered: calls.flatMap(answeredCall).slice(-count),
    open: calls.flatMap(({ use, answer }) => (answer === null ? [use === null ? null : digest(use)] : [])),
    seq,
    said: await textAfter(store, { session_id: turn.session_id, turn: turn.turn, seq }),
  };
}

function answeredCall({ use, parts, answer }: Call): AnsweredCall[] {
  if (answer === null) return [];
  const isKnown = use !== null && answer.text !== null;
  const whole = isKnown ? digest(`${use}\0${answer.text}`) : null;
  return [{ use: use === null ? null : digest(use), whole, parts, answered_at: answer.at }];
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
