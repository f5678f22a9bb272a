import { AS_NAMED, type RealName } from '../model/checkout-path.ts';
import type { EventRow, LineEvents } from '../model/event.ts';
import { ANSWER_LIMIT, type HarnessEvent, keptAnswer, type Limit } from '../model/harness.ts';
import type { Quota } from '../model/quota.ts';
import type { SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import { type Price, priceOf, TOKEN_KEYS, type TokenCounts, type UsageMode } from '../model/usage.ts';
import { type FileCall, isFileCall, recordCalls } from './activity.ts';
import { appendEvent } from './event.ts';
import { type BatchedEvent, insertEvents } from './event-batch.ts';
import { dataOf } from './event-data.ts';
import { openByProbe } from './pool.ts';
import { noteQuotas } from './quota.ts';
import { noteNativeKey } from './reservation-session.ts';
import type { Store, Tx } from './store.ts';
import { transition } from './transition.ts';

export interface IngestInput {
  session_id: string;
  turn: number;
  /** The committed offset this batch starts from; the write is refused when it has moved. */
  from_offset: number;
  to_offset: number;
  lines: LineEvents[];
  /** Lines longer than the bound: counted as malformed, kept on disk. */
  oversize: number;
  now: number;
  /** What its model costs, for tokens whose cost the harness does not tell; null: nobody knows. */
  price?: Price | null;
}

/**
 * Writes one batch of a turn's stream: events, activity, usage and the new offset in one transaction, so that after any
 * crash the stream goes on from the offset, nothing lost and nothing doubled (ARCHITECTURE §2 Ingest).
 * `null`: the turn is over or another writer moved the offset. `real_name` follows the links in what tools name.
 */
export async function ingest(
  store: Store,
  batches: readonly IngestInput[],
  real_name: RealName = AS_NAMED,
): Promise<(TurnRow | null)[]> {
  return store.write((tx) => batches.map((batch) => ingestOne(tx, batch, real_name)));
}

function ingestOne(tx: Tx, batch: IngestInput, real_name: RealName): TurnRow | null {
  const events: BatchedEvent[] = [];
  const key = { session_id: batch.session_id, turn: batch.turn };
  const before = tx.get<TurnRow>(
    'SELECT * FROM turns WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL AND stdout_offset = :from',
    { ...key, from: batch.from_offset },
  );
  if (before === null) return null;
  const after: TurnRow = { ...before, stdout_offset: batch.to_offset, malformed: before.malformed + batch.oversize };
  const limit = before.limit_json === null ? null : (JSON.parse(before.limit_json) as Limit);
  const found: Found = { native: null, tools: 0, limit, quotas: null };
  const calls: FileCall[] = [];
  for (const line of batch.lines) {
    after.lines += 1;
    if (line.events === null) {
      after.malformed += 1;
      continue;
    }
    let nth = 0;
    for (const event of line.events) {
      fold(after, before, found, event, batch.now);
      events.push([event.type, levelOf(event), line.offset, dataOf(event, nth)]);
      if (isFileCall(event)) calls.push(event);
      nth += 1;
    }
  }
  insertEvents(tx, { ...key, at: batch.now }, events);
  if (calls.length > 0) recordCalls(tx, { ...key, at: batch.now }, calls, real_name);
  after.lines += batch.oversize;
  if (found.limit !== limit) after.limit_json = found.limit === null ? null : JSON.stringify(found.limit);
  if (after.events > before.events) {
    after.first_event_at ??= batch.now;
    after.last_event_at = batch.now;
  }
  if (batch.price) estimate(after, before, batch.price);
  writeTurn(tx, after);
  writeSession(tx, before, after, found, batch.now);
  if (found.quotas !== null) noteQuotas(tx, key.session_id, found.quotas.values(), batch.now);
  // Only work shows that the provider serves again: what a CLI says of a limit is text, too.
  const isAnswered = after.limit_json === null && (found.tools > 0 || after.output_tokens > before.output_tokens);
  if (isAnswered) openByProbe(tx, { id: key.session_id, turn: key.turn }, batch.now);
  return after;
}

function levelOf({ type }: HarnessEvent): EventRow['level'] {
  return type === 'error' ? 'error' : type === 'limit' ? 'warning' : type === 'custom' ? 'debug' : 'info';
}

/** What a batch says beside the columns of the turn. */
interface Found {
  native: string | null;
  tools: number;
  /** `limit_json` while the batch is read: nearly every event asks for it. */
  limit: Limit | null;
  /** By kind: the last word of the batch; rare, so null. */
  quotas: Map<string, Quota> | null;
}

/** Applies one event to the turn row and to `found` (mutates both; `before` is the row at the start of the batch). */
function fold(turn: TurnRow, before: TurnRow, found: Found, event: HarnessEvent, now: number): void {
  turn.events += 1;
  switch (event.type) {
    case 'session':
      // Another conversation than the one we resumed counts from zero.
      if (turn.native_session_after === null && event.native_session_id !== turn.native_session_before)
        turn.thread_json = null;
      found.native = event.native_session_id;
      turn.native_session_after = event.native_session_id;
      break;
    case 'text':
      foldText(turn, event);
      passLimit(found);
      turn.model_turns = Math.max(turn.model_turns, 1);
      turn.result_at = null;
      break;
    case 'reasoning':
      turn.model_turns = Math.max(turn.model_turns, 1);
      // Work goes on after a result (several results per process are normal): the linger timer starts anew.
      turn.result_at = null;
      break;
    case 'tool_use':
      turn.model_turns = Math.max(turn.model_turns, 1);
      turn.tools_open += 1;
      turn.is_text_open = 0;
      passLimit(found);
      turn.result_at = null;
      found.tools += 1;
      break;
    case 'tool_result':
      turn.tools_open = Math.max(0, turn.tools_open - 1);
      break;
    case 'usage':
      foldUsage(turn, before, event.mode, event.tokens);
      break;
    case 'cost':
      foldCost(turn, event);
      break;
    case 'limit':
      found.limit = joinLimits(found.limit, event.limit);
      break;
    case 'result':
      turn.result_at = now;
      turn.result_ok = event.ok ? 1 : 0;
      turn.result_reason = event.reason;
      turn.result_text = event.text === '' ? turn.result_text : event.text;
      turn.model_turns = event.model_turns ?? turn.model_turns;
      turn.tools_open = 0;
      break;
    case 'custom':
      turn.unknown += 1;
      break;
    case 'status':
      if (event.quota) {
        found.quotas ??= new Map();
        found.quotas.set(event.quota.kind, event.quota);
      }
      break;
    case 'error':
      break;
  }
}

/** A final limit stays; what a later word about it does not know (the reset time) is kept from the earlier one. */
function joinLimits(known: Limit | null, now: Limit): Limit {
  if (known === null || (now.final && !known.final && known.kind !== now.kind)) return now;
  const first = known.final ? known : now;
  return {
    ...first,
    final: known.final || now.final,
    resets_at: known.resets_at ?? now.resets_at,
    retry_after_ms: known.retry_after_ms ?? now.retry_after_ms,
  };
}

/** Work goes on: a limit that was waited out is over. */
function passLimit(found: Found): void {
  if (found.limit !== null && !found.limit.final) found.limit = null;
}

/** The newest text is the answer so far: codex, gemini and opencode give none with their result. */
function foldText(turn: TurnRow, event: { text: string; is_delta?: true }): void {
  const before = event.is_delta && turn.is_text_open === 1 ? (turn.result_text ?? '') : '';
  // Cutting a text that was put together copies all of it: not with every piece.
  turn.result_text = before.length > ANSWER_LIMIT ? before : keptAnswer(before + event.text);
  turn.is_text_open = 1;
}

/** No sum grows beyond what a number holds exactly: a harness that counts nonsense must not break the row. */
function capped(count: number): number {
  return Math.min(count, Number.MAX_SAFE_INTEGER);
}

/** What the harness tells takes the place of an estimate, all of it. */
function foldCost(turn: TurnRow, { mode, cost_micros }: { mode: UsageMode; cost_micros: number }): void {
  const told = turn.is_cost_estimated === 1 ? 0 : (turn.cost_micros ?? 0);
  turn.cost_micros = capped(mode === 'add' ? told + cost_micros : cost_micros);
  turn.is_cost_estimated = 0;
}

/** Tokens whose cost nobody has told so far cost what the table says (mutates `after`). */
function estimate(after: TurnRow, before: TurnRow, price: Price): void {
  const isTold = after.cost_micros !== null && after.is_cost_estimated === 0;
  if (isTold || TOKEN_KEYS.every((key) => after[key] === before[key])) return;
  after.cost_micros = priceOf(after, price);
  after.is_cost_estimated = 1;
}

/** The two places where a conversation's running total is kept: what it was before this turn, and now. */
interface ThreadTotals {
  base: TokenCounts;
  last: TokenCounts;
}

function foldUsage(turn: TurnRow, before: TurnRow, mode: 'add' | 'turn' | 'thread', tokens: TokenCounts): void {
  if (mode === 'thread') {
    const stored = turn.thread_json === null ? null : (JSON.parse(turn.thread_json) as ThreadTotals);
    // The row starts with the totals of the turn before; from then on `base` stays and `last` moves.
    const isFirst = before.thread_json === turn.thread_json && sum(turn) === 0;
    const base = stored === null ? null : isFirst ? stored.last : stored.base;
    const counts = base ?? zero();
    for (const key of TOKEN_KEYS) turn[key] = capped(Math.max(0, tokens[key] - counts[key]));
    turn.thread_json = JSON.stringify({ base: counts, last: tokens } satisfies ThreadTotals);
    return;
  }
  for (const key of TOKEN_KEYS) turn[key] = capped(mode === 'add' ? turn[key] + tokens[key] : tokens[key]);
}

function zero(): TokenCounts {
  return { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 };
}

function sum(tokens: TokenCounts): number {
  return TOKEN_KEYS.reduce((total, key) => total + tokens[key], 0);
}

function writeTurn(tx: Tx, turn: TurnRow): void {
  tx.run(
    `UPDATE turns SET stdout_offset = :stdout_offset, lines = :lines, malformed = :malformed, unknown = :unknown, events = :events,
       first_event_at = :first_event_at, last_event_at = :last_event_at, result_at = :result_at, result_ok = :result_ok,
       result_reason = :result_reason, result_text = :result_text, is_text_open = :is_text_open, model_turns = :model_turns, tools_open = :tools_open,
       limit_json = :limit_json, native_session_after = :native_session_after, input_tokens = :input_tokens,
       output_tokens = :output_tokens, cache_read_tokens = :cache_read_tokens, cache_write_tokens = :cache_write_tokens,
       reasoning_tokens = :reasoning_tokens, cost_micros = :cost_micros, thread_json = :thread_json, is_cost_estimated = :is_cost_estimated
     WHERE session_id = :session_id AND turn = :turn`,
    {
      session_id: turn.session_id,
      turn: turn.turn,
      stdout_offset: turn.stdout_offset,
      lines: turn.lines,
      malformed: turn.malformed,
      unknown: turn.unknown,
      events: turn.events,
      first_event_at: turn.first_event_at,
      last_event_at: turn.last_event_at,
      result_at: turn.result_at,
      result_ok: turn.result_ok,
      result_reason: turn.result_reason,
      result_text: turn.result_text,
      is_text_open: turn.is_text_open,
      model_turns: turn.model_turns,
      tools_open: turn.tools_open,
      limit_json: turn.limit_json,
      native_session_after: turn.native_session_after,
      input_tokens: turn.input_tokens,
      output_tokens: turn.output_tokens,
      cache_read_tokens: turn.cache_read_tokens,
      cache_write_tokens: turn.cache_write_tokens,
      reasoning_tokens: turn.reasoning_tokens,
      cost_micros: turn.cost_micros,
      thread_json: turn.thread_json,
      is_cost_estimated: turn.is_cost_estimated,
    },
  );
}

function writeSession(tx: Tx, before: TurnRow, after: TurnRow, found: Found, now: number): void {
  const delta = (key: keyof TokenCounts) => after[key] - before[key];
  const cost = after.cost_micros === null ? null : after.cost_micros - (before.cost_micros ?? 0);
  const row = tx.get<Pick<SessionRow, 'id' | 'harness' | 'state' | 'native_session_id'>>(
    `UPDATE sessions SET last_activity_at = coalesce(:at, last_activity_at), tool_calls = tool_calls + :tools,
       input_tokens = min(input_tokens + :input, 9007199254740991), output_tokens = min(output_tokens + :output, 9007199254740991),
       cache_read_tokens = min(cache_read_tokens + :cache_read, 9007199254740991), cache_write_tokens = min(cache_write_tokens + :cache_write, 9007199254740991),
       reasoning_tokens = min(reasoning_tokens + :reasoning, 9007199254740991),
       cost_micros = CASE WHEN :cost IS NULL THEN cost_micros ELSE min(coalesce(cost_micros, 0) + :cost, 9007199254740991) END,
       native_session_id = coalesce(:native, native_session_id)
     WHERE id = :id RETURNING id, harness, state, native_session_id`,
    {
      id: after.session_id,
      at: after.events > before.events ? now : null,
      tools: found.tools,
      input: delta('input_tokens'),
      output: delta('output_tokens'),
      cache_read: delta('cache_read_tokens'),
      cache_write: delta('cache_write_tokens'),
      reasoning: delta('reasoning_tokens'),
      cost,
      native: found.native,
    },
  );
  if (row === null || after.events === before.events) return;
  const expected = before.native_session_after ?? before.native_session_before;
  if (found.native !== null && found.native !== expected) noteNativeKey(tx, row);
  if (found.native !== null && expected !== null && expected !== found.native) {
    appendEvent(tx, {
      session_id: after.session_id,
      turn: after.turn,
      type: 'warning',
      level: 'warning',
      data: { warning: 'resume_mismatch', expected, observed: found.native },
      at: now,
    });
  }
  const event =
    row.state === 'booting' ? 'first_event' : row.state === 'stalled' && before.end_cause === null ? 'progress' : null;
  if (event !== null)
    transition(tx, { session_id: after.session_id, event, actor: 'supervisor', now, fence: after.turn });
}
