import type { Config } from '../model/config.ts';
import type { EndCause } from '../model/turn.ts';
import type { Health } from '../model/verdict.ts';
import { JUMP_MS } from './awake.ts';

/** What is recorded about one turn in flight; nothing here is an opinion. Times are wall milliseconds. */
export interface TimerFacts {
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
  /** Bytes of standard output and error on disk. */
  log_bytes: number;
  /** The last time this observer was not running (suspend, SIGSTOP, clock jump): silence before it proves nothing. */
  awake_since: number;
}

export interface TimerVerdict {
  health: Extract<Health, 'ok' | 'stuck' | 'lingering' | 'dead'>;
  /** `end`: its processes have to go. `settle`: they have gone. */
  act: 'none' | 'end' | 'settle';
  cause: EndCause | null;
  /** One sentence for the record. */
  evidence: string;
}

const OK: TimerVerdict = { health: 'ok', act: 'none', cause: null, evidence: 'events arrive' };

/**
 * Milliseconds since an instant, as far as the observer was there (0: nobody knows since when he is). An instant far in
 * the future was set by a clock that went back: it counts from when somebody looked, else as now. One just ahead is
 * news that came while the observer was looking.
 */
export function ageOf(since: number, awake_since: number, now: number): number {
  if (since > now + JUMP_MS) return awake_since === 0 ? 0 : Math.max(0, now - awake_since);
  return Math.max(0, now - Math.max(since, awake_since));
}

/**
 * The timers of one turn (O-53): first event, silence between events and while a tool runs, life after the result, the
 * session's own limit, the size of its log. Observable state comes first, then what somebody already decided, then age.
 * Thresholds are strict: exactly at the limit is still fine. `margin_ms` is added to each: who asks only whether somebody
 * else has failed to act gives him the time to.
 */
export function checkTimers(facts: TimerFacts, limits: Pick<Config, 'turn'>, now: number, margin_ms = 0): TimerVerdict {
  if (facts.process === 'gone') return { health: 'dead', act: 'settle', cause: null, evidence: 'the process is gone' };
  if (facts.end_cause !== null) {
    return { health: 'stuck', act: 'end', cause: facts.end_cause, evidence: `to be ended: ${facts.end_cause}` };
  }
  const age = (since: number) => ageOf(since, facts.awake_since, now);
  const isOver = (ms: number, allowed: number) => ms > allowed + margin_ms;
  if (facts.result_at !== null && isOver(age(facts.result_at), limits.turn.after_result_ms)) {
    return end('lingering', 'lingering', `alive ${age(facts.result_at)} ms after its result`);
  }
  if (facts.timeout_ms !== null && isOver(age(facts.started_at), facts.timeout_ms)) {
    return end('stuck', 'timeout', `the turn ran ${age(facts.started_at)} ms, allowed are ${facts.timeout_ms}`);
  }
  if (facts.log_bytes > limits.turn.max_log_bytes) {
    return end('stuck', 'log_limit', `wrote ${facts.log_bytes} bytes, allowed are ${limits.turn.max_log_bytes}`);
  }
  const isStart = facts.first_event_at === null;
  const silence = age(isStart ? facts.started_at : (facts.last_event_at ?? facts.started_at));
  const { cause, allowed, what } = isStart ? startTimer(facts, limits) : silenceTimer(facts, limits);
  if (allowed > 0 && isOver(silence, allowed)) return end('stuck', cause, `no event for ${silence} ms ${what}`);
  return OK;
}

function end(health: TimerVerdict['health'], cause: EndCause, evidence: string): TimerVerdict {
  return { health, act: 'end', cause, evidence };
}

interface SilenceTimer {
  cause: EndCause;
  /** 0: off. */
  allowed: number;
  what: string;
}

function startTimer({ early_first_event }: TimerFacts, { turn }: Pick<Config, 'turn'>): SilenceTimer {
  const allowed = early_first_event ? turn.first_event_ms : turn.first_event_late_ms;
  return { cause: 'first_event', allowed, what: 'after the start' };
}

function silenceTimer({ tools_open }: TimerFacts, { turn }: Pick<Config, 'turn'>): SilenceTimer {
  const isToolOpen = tools_open > 0;
  const what = isToolOpen ? 'while a tool runs' : 'between events';
  return { cause: 'silent', allowed: isToolOpen ? turn.tool_ms : turn.between_events_ms, what };
}
