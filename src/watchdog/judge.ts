import type { Config } from '../model/config.ts';
import type { SessionState } from '../model/session.ts';
import type { EndCause } from '../model/turn.ts';

/** What is recorded about one turn in flight; nothing here is an opinion. Times are wall milliseconds. */
export interface TurnFacts {
  state: SessionState;
  /** `gone`: the launcher's identity is proven dead, or its exit status is on disk. */
  process: 'alive' | 'gone' | 'unknown';
  started_at: number;
  first_event_at: number | null;
  last_event_at: number | null;
  result_at: number | null;
  tools_open: number;
  end_cause: EndCause | null;
  timeout_ms: number | null;
  /** The harness speaks before its model answers, so early silence means something. */
  early_first_event: boolean;
  /** Coordinators and monitors are exempt from the age rules. */
  is_persistent: boolean;
  /** Bytes of standard output and error on disk. */
  log_bytes: number;
  /** The last time this observer was not running (suspend, SIGSTOP, clock jump): silence before it proves nothing. */
  awake_since: number;
}

export type Health = 'ok' | 'late' | 'stuck' | 'lingering' | 'dead';

export interface Verdict {
  health: Health;
  /** `end`: its processes have to go. `settle`: they have gone. `stall`/`unstall` only change the state. */
  act: 'none' | 'stall' | 'end' | 'settle';
  cause: EndCause | null;
  /** One sentence for the record. */
  evidence: string;
}

export type Thresholds = Pick<Config, 'turn' | 'watchdog'>;

const OK: Verdict = { health: 'ok', act: 'none', cause: null, evidence: 'events arrive' };

/**
 * The first tier's verdict about one turn, from facts alone (O-53, O-67, O-68, MODEL §2.7). Observable state comes
 * first, then what somebody already decided, then age. Thresholds are strict: exactly at the limit is still fine.
 */
export function judge(facts: TurnFacts, limits: Thresholds, now: number): Verdict {
  if (facts.process === 'gone') return { health: 'dead', act: 'settle', cause: null, evidence: 'the process is gone' };
  if (facts.end_cause !== null) {
    return { health: 'stuck', act: 'end', cause: facts.end_cause, evidence: `to be ended: ${facts.end_cause}` };
  }
  const age = (since: number) => now - Math.max(since, facts.awake_since);
  if (facts.result_at !== null && age(facts.result_at) > limits.turn.after_result_ms) {
    return end('lingering', 'lingering', `alive ${age(facts.result_at)} ms after its result`);
  }
  if (facts.timeout_ms !== null && age(facts.started_at) > facts.timeout_ms) {
    return end('stuck', 'timeout', `the turn ran ${age(facts.started_at)} ms, allowed are ${facts.timeout_ms}`);
  }
  if (facts.log_bytes > limits.turn.max_log_bytes) {
    return end('stuck', 'log_limit', `wrote ${facts.log_bytes} bytes, allowed are ${limits.turn.max_log_bytes}`);
  }
  return facts.first_event_at === null ? judgeStart(facts, limits, age) : judgeSilence(facts, limits, age);
}

function end(health: Health, cause: EndCause, evidence: string): Verdict {
  return { health, act: 'end', cause, evidence };
}

function judgeStart(facts: TurnFacts, limits: Thresholds, age: (since: number) => number): Verdict {
  const allowed = facts.early_first_event ? limits.turn.first_event_ms : limits.turn.first_event_late_ms;
  const silence = age(facts.started_at);
  if (allowed > 0 && silence > allowed) return end('stuck', 'first_event', `no event ${silence} ms after the start`);
  return OK;
}

function judgeSilence(facts: TurnFacts, limits: Thresholds, age: (since: number) => number): Verdict {
  const silence = age(facts.last_event_at ?? facts.started_at);
  const isToolOpen = facts.tools_open > 0;
  const allowed = isToolOpen ? limits.turn.tool_ms : limits.turn.between_events_ms;
  const what = isToolOpen ? 'while a tool runs' : 'between events';
  if (allowed > 0 && silence > allowed) return end('stuck', 'silent', `silent for ${silence} ms ${what}`);
  if (facts.is_persistent || isToolOpen) return OK;
  if (silence > limits.watchdog.zombie_ms) return end('stuck', 'stuck', `silent for ${silence} ms ${what}`);
  if (silence <= limits.watchdog.stale_ms) return OK;
  const act = facts.state === 'stalled' ? 'none' : 'stall';
  return { health: 'late', act, cause: null, evidence: `silent for ${silence} ms ${what}` };
}
