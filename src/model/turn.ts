import type { Limit } from './harness.ts';

/** The one word a turn ends with (ARCHITECTURE §3). */
export const OUTCOMES = [
  'completed',
  'handed_off',
  'limited',
  'refused',
  'timed_out',
  'stalled',
  'cancelled',
  'crashed',
  'lost',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/**
 * Why drover itself ended a turn, first writer wins. `lingering`: the process lived on after its result;
 * `first_event`/`silent`: timers; `timeout`: the session's own limit; `stop`/`pause`/`interrupt`: a person's word;
 * `stuck`: the watchdog; `log_limit`: it wrote more than its log may hold.
 */
export const END_CAUSES = [
  'stop',
  'pause',
  'interrupt',
  'first_event',
  'silent',
  'timeout',
  'lingering',
  'stuck',
  'log_limit',
] as const;
export type EndCause = (typeof END_CAUSES)[number];

/** Reason of a turn whose harness does not know the session it should resume: the next turn starts without it. */
export const UNKNOWN_SESSION = 'unknown_native_session';

/** One row of `turns`, spelled like its columns. */
export interface TurnRow {
  session_id: string;
  turn: number;
  marker: string;
  dir: string;
  started_at: number;
  ended_at: number | null;
  /** The launcher's identity, null until it is known. */
  pid: number | null;
  pid_start_time: string | null;
  boot_id: string | null;
  end_cause: EndCause | null;
  outcome: Outcome | null;
  reason: string | null;
  exit_code: number | null;
  exit_signal: string | null;
  stdout_offset: number;
  lines: number;
  malformed: number;
  unknown: number;
  events: number;
  first_event_at: number | null;
  last_event_at: number | null;
  result_at: number | null;
  result_ok: number | null;
  result_reason: string | null;
  result_text: string | null;
  /** 1 while the newest event was a text that pieces may continue. */
  is_text_open: number;
  model_turns: number;
  tools_open: number;
  limit_json: string | null;
  tree_empty: number | null;
  /** Processes that did not go. */
  survivors: number;
  /** Processes that were still there when the harness had ended of its own accord, and were ended. */
  leftovers: number;
  native_session_before: string | null;
  native_session_after: string | null;
  terminal_mail: number;
  handoffs: number;
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  reasoning_tokens: number;
  cost_micros: number | null;
  /** The harness does not say; it comes from a table of prices. */
  is_cost_estimated: number;
  /** Since when the gate judges what it has left; the harness has ended by then. */
  gating_since: number | null;
  /** Gates that were begun for it and whose end nobody has seen: the one that runs, and those whose supervisor died. */
  gates_cut: number;
  /** Of the time its step may take for all turns of a try, what was left at its start; null: it is no step's, or may take any. */
  allowed_ms: number | null;
  /** Totals of the conversation as last reported (usage mode `thread`), JSON of TokenCounts. */
  thread_json: string | null;
  /** Largest resident size of all its processes together that was seen. */
  peak_memory_bytes: number;
  /** CPU time of its processes as last seen. */
  cpu_ms: number;
}

/** Facts about an ended turn: what was recorded plus what the machine says now. */
export interface EndFacts {
  end_cause: EndCause | null;
  /** null: no exit file, the process vanished. */
  exit: { code: number | null; signal: string | null } | null;
  result_ok: boolean | null;
  result_reason: string | null;
  model_turns: number;
  handoffs: number;
  tree_empty: boolean;
  /** The newest limit that no work has followed. */
  limit: Limit | null;
}

export interface OutcomeVerdict {
  outcome: Outcome;
  /** One token or short phrase for people and scripts, e.g. `no_result`, `exit 3`, `usage_limit`. */
  reason: string;
}

/**
 * Reconciles stream result × exit code × process tree × model turns into one word; the first reason wins.
 *
 * Success needs all of them: a result without error, at least one model turn, an exit that agrees, and a tree that is
 * proven gone. Exit code 0 alone proves nothing (ARCHITECTURE §6). A turn that drover ended *after* its result
 * (`lingering`) agrees by that result.
 */
export function outcomeOf(facts: EndFacts): OutcomeVerdict {
  const { end_cause, exit, result_ok, limit } = facts;
  const lingered = end_cause === 'lingering' && result_ok !== null;
  if (end_cause !== null && end_cause !== 'lingering') {
    // Silence while the provider says "not now" is the provider's, not the agent's: several CLIs retry without a word.
    const isSilence = end_cause === 'silent' || end_cause === 'first_event';
    if (isSilence && limit !== null && result_ok !== true) return byLimit(limit);
    const early = byEndCause(end_cause);
    // A turn that finished cleanly before the signal reached it keeps its success: its effects are real.
    const wonRace = result_ok === true && exit?.code === 0 && end_cause !== 'stop';
    if (!wonRace) return early;
  }
  if (exit === null && !lingered) return { outcome: 'lost', reason: 'no_exit_status' };
  if (result_ok !== true && limit?.final) return byLimit(limit);
  if (result_ok === false) {
    const reason = facts.result_reason ?? 'error';
    return { outcome: reason.startsWith('refused') ? 'refused' : 'crashed', reason };
  }
  if (!lingered && exit?.code !== 0) {
    return { outcome: 'crashed', reason: exit?.signal ? `signal ${exit.signal}` : `exit ${exit?.code ?? '?'}` };
  }
  if (result_ok === null) return { outcome: 'crashed', reason: 'no_result' };
  if (facts.model_turns < 1) return { outcome: 'crashed', reason: 'no_model_turn' };
  if (!facts.tree_empty) return { outcome: 'crashed', reason: 'tree_not_empty' };
  return { outcome: facts.handoffs > 0 ? 'handed_off' : 'completed', reason: lingered ? 'lingering' : 'ok' };
}

function byLimit(limit: Limit): OutcomeVerdict {
  return limit.kind === 'auth' ? { outcome: 'refused', reason: 'auth' } : { outcome: 'limited', reason: limit.kind };
}

function byEndCause(cause: Exclude<EndCause, 'lingering'>): OutcomeVerdict {
  switch (cause) {
    case 'stop':
    case 'pause':
    case 'interrupt':
      return { outcome: 'cancelled', reason: cause };
    case 'timeout':
      return { outcome: 'timed_out', reason: 'timeout' };
    case 'first_event':
    case 'silent':
    case 'stuck':
    case 'log_limit':
      return { outcome: 'stalled', reason: cause };
  }
}

export function isSuccess(outcome: Outcome): boolean {
  return outcome === 'completed' || outcome === 'handed_off';
}
