import type { Config } from '../model/config.ts';
import type { SessionState } from '../model/session.ts';
import type { EndCause } from '../model/turn.ts';
import type { Health } from '../model/verdict.ts';
import { isLoop, type SeenRepetition } from './repetition.ts';
import { ageOf, checkTimers, type TimerFacts } from './timers.ts';

/** What the watchdog knows of one turn in flight. Those that cost more than a row are null until it looks closely. */
export interface WatchFacts extends TimerFacts {
  state: SessionState;
  /** Coordinators and monitors are exempt from the age rules. */
  is_persistent: boolean;
  /** The provider said "not now" and no work has followed. */
  is_limited: boolean;
  /** Its newest output that the supervisor has not read yet was written then. */
  written_at: number | null;
  /** That output has whole lines: the row is older than what its harness has said. */
  has_unread_lines: boolean;
  /** The newest event of a session it started. */
  child_event_at: number | null;
  /** It asked, and nobody has answered. */
  awaits_answer: boolean;
  /** The first look that found somebody's decision to end it. */
  ending_since: number | null;
  /** Since when a gate judges what it has left: its process is gone, and its turn is open. Absent in older records. */
  gating_since?: number | null;
  repetition: SeenRepetition | null;
  /** Output tokens since HEAD or the status of its worktree last changed; null: not in a worktree, or not looked at. */
  unchanged_tokens: number | null;
  /** The processes of its tree, their resident bytes, and the CPU time they used within the last `cpu_over_ms`. */
  processes: number | null;
  rss_bytes: number | null;
  cpu_ms: number | null;
  cpu_over_ms: number | null;
}

export type WatchCause = EndCause | 'gone' | 'repetition' | 'no_change';

export interface WatchVerdict {
  health: Health;
  cause: WatchCause | null;
  /**
   * `ring`: the supervisor has to look. `end`: a timer is long overdue because nobody acted. `climb`: one step of the
   * ladder. `terminate`: beyond all patience.
   */
  act: 'none' | 'ring' | 'end' | 'climb' | 'terminate';
  evidence: string;
}

export type WatchLimits = Pick<Config, 'turn' | 'watchdog' | 'gate'>;

/** The supervisor acts on a timer within half a second; this much later somebody else does. */
export const OVERDUE_MS = 15_000;
/** A gate that has run out of time is ended with all it has started; a crashed supervisor's is begun anew. */
const GATE_MARGIN_MS = 60_000;
/** The supervisor reads a line within milliseconds; when it is behind by this much, the row says nothing about the turn. */
const BEHIND_MS = 5_000;
/** Output tokens without a change of the tree that are worth a word. */
export const UNCHANGED_TOKENS = 2_000_000;

const OK: WatchVerdict = { health: 'ok', cause: null, act: 'none', evidence: 'events arrive' };

/**
 * The watchdog's verdict about one turn, from facts alone (O-67, O-68, E-079, E-081, MODEL §2.7). Observable state comes
 * first, then timers that nobody acted on, then behaviour, then age. Thresholds are strict: exactly at the limit is fine.
 */
export function judge(facts: WatchFacts, limits: WatchLimits, now: number): WatchVerdict {
  const gated = judgeGated(facts, limits, now);
  if (gated !== null) return gated;
  if (facts.process === 'gone') {
    return { health: 'dead', cause: 'gone', act: 'ring', evidence: 'the process is gone and its turn is open' };
  }
  const age = (since: number) => ageOf(since, facts.awake_since, now);
  return (
    judgeEnding(facts, limits, age) ??
    judgeUnread(facts, limits, now) ??
    judgeTimers(facts, limits, now) ??
    judgeResult(facts, limits, age) ??
    judgeBehaviour(facts, limits) ??
    judgeAge(facts, limits, age)
  );
}

/** Whatever else its row says: as long as its gate may run, the turn waits for nobody but that. */
function judgeGated({ gating_since = null, awake_since }: WatchFacts, limits: WatchLimits, now: number) {
  if (gating_since === null) return null;
  const ran = ageOf(gating_since, awake_since, now);
  return ran > limits.gate.timeout_ms + GATE_MARGIN_MS ? null : { ...OK, evidence: `its gate has run for ${ran} ms` };
}

type Age = (since: number) => number;

/** Somebody decided to end it; the supervisor does that, and when it does not, the watchdog. */
function judgeEnding({ end_cause, ending_since }: WatchFacts, limits: WatchLimits, age: Age): WatchVerdict | null {
  if (end_cause === null) return null;
  const waited = ending_since === null ? 0 : age(ending_since);
  if (waited <= OVERDUE_MS + limits.turn.sigkill_delay_ms) return { ...OK, evidence: `is being ended: ${end_cause}` };
  return { health: 'stuck', cause: end_cause, act: 'end', evidence: `not ended for ${waited} ms: ${end_cause}` };
}

/** Of a row that the supervisor has not kept up only what does not depend on events is believed; for the rest he is rung. */
function judgeUnread(facts: WatchFacts, limits: WatchLimits, now: number): WatchVerdict | null {
  const behind = ageOf(facts.last_event_at ?? facts.started_at, facts.awake_since, now);
  if (!facts.has_unread_lines || behind <= BEHIND_MS) return null;
  const unheard = { ...facts, result_at: null, first_event_at: now, last_event_at: now, written_at: null };
  return (
    judgeTimers(unheard, limits, now) ?? {
      ...OK,
      act: 'ring',
      evidence: `nobody has read its output for ${behind} ms`,
    }
  );
}

function judgeTimers(facts: WatchFacts, limits: WatchLimits, now: number): WatchVerdict | null {
  const last_event_at = Math.max(facts.last_event_at ?? facts.started_at, facts.written_at ?? 0);
  const first_event_at = facts.first_event_at ?? facts.written_at;
  const overdue = checkTimers({ ...facts, first_event_at, last_event_at }, limits, now, OVERDUE_MS);
  if (overdue.act !== 'end') return null;
  const { health, cause, evidence } = overdue;
  return { health, cause, act: 'end', evidence: `${evidence}, and nobody acted for ${OVERDUE_MS} ms more` };
}

function judgeResult({ result_at }: WatchFacts, limits: WatchLimits, age: Age): WatchVerdict | null {
  if (result_at === null) return null;
  const lingered = age(result_at);
  if (lingered <= limits.turn.after_result_ms) return OK;
  return { health: 'lingering', cause: 'lingering', act: 'none', evidence: `alive ${lingered} ms after its result` };
}

function judgeBehaviour(facts: WatchFacts, limits: WatchLimits): WatchVerdict | null {
  const { repetition, unchanged_tokens } = facts;
  if (repetition !== null && isLoop(repetition, limits.watchdog.loop_repeats)) {
    const what = repetition.period === 1 ? 'the same tool call' : `the same ${repetition.period} tool calls`;
    const evidence = `${what} with the same answer ${repetition.times} times in a row`;
    return { health: 'looping', cause: 'repetition', act: 'climb', evidence };
  }
  if (unchanged_tokens !== null && unchanged_tokens > UNCHANGED_TOKENS) {
    const evidence = `${unchanged_tokens} output tokens without a change of its worktree`;
    return { health: 'looping', cause: 'no_change', act: 'climb', evidence };
  }
  return null;
}

function judgeAge(facts: WatchFacts, limits: WatchLimits, age: Age): WatchVerdict {
  const { stale_ms, zombie_ms } = limits.watchdog;
  if (facts.is_persistent || facts.tools_open > 0) return OK;
  const signs = [facts.last_event_at ?? facts.started_at, facts.written_at, facts.child_event_at];
  const silence = Math.min(...signs.map((at) => (at === null ? Number.POSITIVE_INFINITY : age(at))));
  if (silence <= (facts.is_limited ? zombie_ms : stale_ms)) return OK;
  const evidence = `silent for ${silence} ms`;
  // The silence is the provider's: the turn is ended as one that a limit ended, and its session waits.
  if (facts.is_limited) return { health: 'stuck', cause: 'silent', act: 'end', evidence: `${evidence} after a limit` };
  if (silence > zombie_ms) return { health: 'stuck', cause: 'silent', act: 'terminate', evidence };
  return { health: 'late', cause: 'silent', act: 'climb', evidence };
}
