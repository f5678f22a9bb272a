import type { Limit } from './harness.ts';
import { boundedWait, doubledWait, GUESS_CAP_MS, toldWait } from './limit-wait.ts';
import { type PoolRow, parkedReasonOf } from './pool.ts';
import type { ParkedReason, SessionEvent } from './session.ts';
import { isSuccess, type OutcomeVerdict } from './turn.ts';

/** What the session looked like when its turn ended (MODEL §2.6). */
export interface SettleFacts {
  verdict: OutcomeVerdict;
  /** False while the session is still `booting`: not one event was seen in this life. */
  saw_event: boolean;
  has_contract: boolean;
  /** A terminal mail was sent, in this turn or before. */
  contract_met: boolean;
  is_persistent: boolean;
  /** Mail or notifications that no prompt has carried yet. */
  has_input: boolean;
  /** Live children, or a question that waits for an answer. */
  awaits_others: boolean;
  is_reminded: boolean;
  /** A terminal mail of this turn and its result without error are both stored (CX-49). */
  has_evidence: boolean;
  attempt: number;
  max_attempts: number;
  /** Turns before this one that a limit ended as well, without another in between. */
  limited_in_row: number;
  limit: Limit | null;
  /** The session's pool after it heard of this turn's refusal; null: nobody refused, or its guard is off. */
  pool: PoolRow | null;
  /** Keeps sessions that wait for the same instant apart. */
  spread_ms: number;
  /** Of the time that all its turns may take together nothing is left. */
  is_out_of_time: boolean;
  /** What its gate said of this turn; null: there is none, or nobody has asked it yet. */
  gate: GateFacts | null;
  now: number;
  backoff_ms: number;
  backoff_cap_ms: number;
}

export interface GateFacts {
  verdict: 'green' | 'red';
  /** Red gates in a row before this one. */
  round: number;
  max_rounds: number;
}

export interface Settlement {
  event: Extract<SessionEvent, 'rest' | 'complete' | 'fail' | 'park' | 'bury'>;
  reason: string;
  mail: 'confirm' | 'release';
  attempt: number;
  next_turn_at: number | null;
  remind: boolean;
  parked_reason: ParkedReason | null;
  resume_at: number | null;
  /** The pool that decides when it goes on. */
  parked_pool: string | null;
  /** Red gates in a row from now on; null: nothing new. */
  gate_round: number | null;
  /** What its gate complained about becomes mail for the session. */
  send_back: boolean;
  /** A `worker_died` mail for the parent, in the same transaction (O-32). */
  died: boolean;
}

const BASE: Omit<Settlement, 'event' | 'reason' | 'mail'> = {
  attempt: 0,
  next_turn_at: null,
  remind: false,
  parked_reason: null,
  resume_at: null,
  parked_pool: null,
  gate_round: null,
  send_back: false,
  died: false,
};

/**
 * The session's next state after a turn (MODEL §2.6, O-52, CX-10), as a pure table. `complete` without a gate's word in
 * the facts is a claim: whoever has a gate asks it first.
 *
 * One reading goes beyond the table: a session whose contract is met but whose inbox is not empty goes on to `idle`,
 * because mail that was acknowledged to its sender must reach a prompt.
 */
export function settle(facts: SettleFacts): Settlement {
  const claimed = settleTurn(facts);
  const settled = facts.gate === null ? claimed : settleByGate(facts.gate, claimed);
  return facts.is_out_of_time ? settleInTime(settled) : settled;
}

/** Without time for it there is no next turn. What its gate has held keeps that reason: it had its rounds. */
function settleInTime(settled: Settlement): Settlement {
  const goesOn = settled.event === 'rest' || (settled.event === 'park' && settled.parked_reason !== 'gate');
  if (!goesOn) return settled;
  const { mail, attempt, gate_round } = settled;
  return { ...BASE, event: 'fail', reason: 'timeout', mail, attempt, gate_round, died: true };
}

/**
 * A red gate never completes: the session goes on with what it complained about, until it was sent back often enough. Who
 * has mail to read goes on anyway, and is judged again. Of a turn that was ended meanwhile a gate says nothing.
 */
function settleByGate({ verdict, round, max_rounds }: GateFacts, claimed: Settlement): Settlement {
  const isClaim = claimed.mail === 'confirm' && (claimed.event === 'complete' || claimed.event === 'rest');
  if (!isClaim) return claimed;
  if (verdict === 'green') return { ...claimed, gate_round: 0 };
  const back = { ...claimed, reason: 'gate_red', gate_round: round + 1, send_back: true };
  if (claimed.event === 'complete' && round + 1 >= max_rounds) return { ...back, event: 'park', parked_reason: 'gate' };
  return { ...back, event: 'rest' };
}

function settleTurn(facts: SettleFacts): Settlement {
  const { outcome, reason } = facts.verdict;
  // A process that vanished after it had reported and ended well has done its work (C-10).
  const isDone = isSuccess(outcome) || (outcome === 'lost' && facts.has_evidence);
  if (isDone && facts.saw_event) return settleSuccess(facts);
  if (facts.pool !== null) return settleByPool(facts, facts.pool);
  if (outcome === 'limited') return settleLimited(facts, reason);
  if (outcome === 'cancelled') return settleCancelled(facts, reason);
  if (outcome === 'stalled' || outcome === 'lost')
    return { ...BASE, event: 'bury', reason, mail: 'release', died: true };
  if (outcome === 'timed_out' || reason === 'auth') {
    return { ...BASE, event: 'fail', reason, mail: 'release', attempt: facts.attempt + 1, died: true };
  }
  if (!facts.saw_event) return { ...BASE, event: 'fail', reason: `no_output: ${reason}`, mail: 'release', died: true };
  const attempt = facts.attempt + 1;
  if (attempt >= facts.max_attempts) return { ...BASE, event: 'fail', reason, mail: 'release', attempt, died: true };
  return { ...BASE, event: 'rest', reason, mail: 'release', attempt, next_turn_at: facts.now + backoff(facts) };
}

function settleSuccess(facts: SettleFacts): Settlement {
  const ok = { ...BASE, reason: facts.verdict.reason, mail: 'confirm' as const };
  if (facts.is_persistent || facts.has_input) return { ...ok, event: 'rest' };
  if (!facts.has_contract || facts.contract_met) {
    return facts.awaits_others && !facts.contract_met ? { ...ok, event: 'rest' } : { ...ok, event: 'complete' };
  }
  if (facts.awaits_others) return { ...ok, event: 'rest' };
  if (!facts.is_reminded) return { ...ok, event: 'rest', remind: true };
  return { ...ok, event: 'fail', reason: 'no_terminal_mail', died: true };
}

/** An interruption before the first event cannot rest (booting → idle is illegal): it goes round by the queue. */
function settleCancelled(facts: SettleFacts, reason: string): Settlement {
  const kept = { ...BASE, reason, mail: 'release' as const, attempt: facts.attempt };
  if (facts.saw_event) return { ...kept, event: 'rest' };
  return { ...kept, event: 'park', parked_reason: 'operator', resume_at: facts.now };
}

/** Refused by a provider: no attempt is spent, and the pool knows until when. */
function settleByPool(facts: SettleFacts, pool: PoolRow): Settlement {
  const { reason } = facts.verdict;
  const kept = { ...BASE, event: 'park', reason, mail: 'release', attempt: facts.attempt } as const;
  if (pool.state === 'blocked' || pool.state === 'probing')
    return { ...kept, parked_reason: parkedReasonOf(pool.reason), parked_pool: pool.name };
  // Throttled, or refused by a wall that has gone meanwhile.
  const at = Math.max(pool.retry_at ?? 0, facts.now + 1000);
  return { ...kept, parked_reason: parkedReasonOf(reason), resume_at: at + Math.ceil(facts.spread_ms) };
}

/** First guesses of a session that waits for itself. */
const LIMIT_WAIT_MS = 15 * 60_000;
const RATE_WAIT_MS = 60_000;

/** Without a pool that decides: the session waits for itself. Guesses double, so a night costs a handful of tries. */
function settleLimited(facts: SettleFacts, reason: string): Settlement {
  const { limit, now } = facts;
  const isUsage = limit?.kind === 'usage_limit' || limit?.kind === 'quota_unknown';
  const told = limit === null ? null : toldWait(limit, now);
  const wait = told ?? doubledWait(isUsage ? LIMIT_WAIT_MS : RATE_WAIT_MS, facts.limited_in_row, GUESS_CAP_MS);
  return {
    ...BASE,
    event: 'park',
    reason,
    mail: 'release',
    attempt: facts.attempt,
    parked_reason: isUsage ? 'usage_limit' : 'rate_limit',
    resume_at: now + boundedWait(wait),
  };
}

/** Exponential: base · 2^attempt, capped. */
export function backoff(facts: Pick<SettleFacts, 'attempt' | 'backoff_ms' | 'backoff_cap_ms'>): number {
  return Math.min(facts.backoff_ms * 2 ** Math.min(facts.attempt, 40), facts.backoff_cap_ms);
}
