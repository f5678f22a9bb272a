import type { HarnessEvent, Limit } from '../model/harness.ts';
import { SYSTEM } from '../model/mail.ts';
import type { PoolLimits, PoolRow } from '../model/pool.ts';
import { type Actor, isTerminal, type SessionRow } from '../model/session.ts';
import { type SettleFacts, type Settlement, settle } from '../model/settle.ts';
import { isSuccess, type OutcomeVerdict, outcomeOf, type TurnRow, UNKNOWN_SESSION } from '../model/turn.ts';
import { type EndEffects, endEffects } from './end-effects.ts';
import { appendEvent } from './event.ts';
import { heldByGate, type Judged, recordGateRun, sendBack } from './gate-run.ts';
import { hasInput, insertMail, settleInput } from './mail.ts';
import { praisePool, strikePool } from './pool.ts';
import { hasLiveChildren, hasOpenQuestion } from './rest.ts';
import { readSession } from './session.ts';
import { timeLeft } from './step-time.ts';
import type { Store, Tx } from './store.ts';
import { OFF_LADDER, transition } from './transition.ts';
import { appendVerdict, type VerdictDraft } from './verdict.ts';

export interface SettleInput {
  session_id: string;
  turn: number;
  /** null: the process vanished without a status. */
  exit: { code: number | null; signal: string | null } | null;
  tree_empty: boolean;
  survivors: number;
  leftovers: number;
  /** Of a process that vanished and left others behind, which had to be ended; kept when nobody wanted its end. */
  loss?: VerdictDraft | null;
  /** What the adapter says of the exit as a whole. */
  exit_events: HarnessEvent[];
  /** From the session's role. */
  has_contract: boolean;
  is_persistent: boolean;
  contract_hint: string;
  max_attempts: number;
  backoff_ms: number;
  backoff_cap_ms: number;
  limits: PoolLimits;
  /** What the session's gate said of this turn; null or absent: it has none. */
  gate?: Judged | null;
  /** In [0, 1): the jitter of whatever waits because of this turn. */
  random: number;
  now: number;
}

export interface Settled {
  session: SessionRow;
  verdict: OutcomeVerdict;
  settlement: Settlement;
  /** False: the session's state had already been decided by somebody else (e.g. `stop`). */
  moved: boolean;
}

/**
 * Ends a turn: outcome, mail confirmed or released, next state, what its gate said, terminal effects and notification of
 * the parent, in one transaction (MODEL §2.4, §2.6, I15). `null` when the turn was settled before. Without a gate's word
 * the turn of a session that has a gate is settled by `settleUnlessDone`.
 */
export async function settleTurn(store: Store, input: SettleInput): Promise<Settled | null> {
  return store.write((tx) => settleIn(tx, input));
}

/** Rolls a settlement back that would complete a session. */
class ClaimsDone extends Error {}

/** The same, but a session that would be completed is left as it is: its gate has to be asked first. */
export async function settleUnlessDone(store: Store, input: SettleInput): Promise<Settled | 'needs_gate' | null> {
  try {
    return await store.write((tx) => {
      const settled = settleIn(tx, input);
      if (settled?.settlement.event === 'complete' && settled.moved) throw new ClaimsDone();
      return settled;
    });
  } catch (error) {
    if (error instanceof ClaimsDone) return 'needs_gate';
    throw error;
  }
}

function settleIn(tx: Tx, input: SettleInput): Settled | null {
  const turn = tx.get<TurnRow>('SELECT * FROM turns WHERE session_id = :id AND turn = :turn AND ended_at IS NULL', {
    id: input.session_id,
    turn: input.turn,
  });
  const session = readSession(tx, input.session_id);
  if (turn === null || session === null) return null;
  applyExitEvents(tx, turn, input);
  const limit = turn.limit_json === null ? null : (JSON.parse(turn.limit_json) as Limit);
  const verdict = outcomeOf({
    end_cause: turn.end_cause,
    exit: input.exit,
    result_ok: turn.result_ok === null ? null : turn.result_ok === 1,
    result_reason: turn.result_reason,
    model_turns: turn.model_turns,
    handoffs: turn.handoffs,
    tree_empty: input.tree_empty,
    limit,
  });
  closeTurn(tx, turn, verdict, input);
  if (input.loss && turn.end_cause === null) appendVerdict(tx, input.loss);
  if (input.gate) recordGateRun(tx, session, turn.turn, input.gate.run, input.now);
  const settlement = settle(factsOf(tx, { session, turn, verdict, limit, input }));
  settleInput(tx, session.id, turn.turn, settlement.mail, input.now);
  const moved = applySettlement(tx, { session, turn, verdict, settlement, input });
  return { session: readSession(tx, session.id) ?? session, verdict, settlement, moved };
}

type Facts = Omit<Ending, 'settlement'> & { limit: Limit | null };

function factsOf(tx: Tx, of: Facts): SettleFacts {
  const { session, turn, verdict, limit, input } = of;
  const { gate = null } = input;
  return {
    verdict,
    saw_event: session.state !== 'booting',
    has_contract: input.has_contract,
    contract_met: session.contract_met_at !== null,
    is_persistent: input.is_persistent,
    has_input: hasInput(tx, session.id),
    awaits_others: hasLiveChildren(tx, session.id) || hasOpenQuestion(tx, session.id),
    is_reminded: session.is_reminded === 1,
    has_evidence: turn.terminal_mail > 0 && turn.result_ok === 1,
    attempt: session.attempt,
    max_attempts: input.max_attempts,
    limited_in_row: limitedInRow(tx, session.id, turn.turn),
    limit,
    pool: tellPool(tx, of),
    spread_ms: input.random * input.limits.stagger_ms,
    is_out_of_time: timeLeft(tx, session) === 0,
    gate: gate && { verdict: gate.run.verdict, round: session.gate_round, max_rounds: gate.max_rounds },
    now: input.now,
    backoff_ms: input.backoff_ms,
    backoff_cap_ms: input.backoff_cap_ms,
  };
}

/** The pool hears how the turn went before the session is judged; what it says then decides (null: nothing). */
function tellPool(tx: Tx, of: Facts): PoolRow | null {
  const { session, turn, verdict, limit, input } = of;
  const { limits, random, now } = input;
  if (isSuccess(verdict.outcome)) praisePool(tx, session, turn.started_at, now);
  const isRefused = verdict.outcome === 'limited' || (verdict.outcome === 'refused' && verdict.reason === 'auth');
  return limit === null || !isRefused ? null : strikePool(tx, { session, turn, limit, limits, random, now });
}

function limitedInRow(tx: Tx, session_id: string, turn: number): number {
  const last = tx.get<{ turn: number | null }>(
    "SELECT max(turn) AS turn FROM turns WHERE session_id = :session_id AND turn < :turn AND outcome <> 'limited'",
    { session_id, turn },
  );
  return turn - 1 - (last?.turn ?? 0);
}

/** Facts that only the exit tells (exit codes, standard error) join the turn before it is judged. */
function applyExitEvents(tx: Tx, turn: TurnRow, input: SettleInput): void {
  for (const event of input.exit_events) {
    const { type, ...data } = event;
    appendEvent(tx, {
      session_id: turn.session_id,
      turn: turn.turn,
      type,
      level: type === 'error' ? 'error' : 'warning',
      data,
      at: input.now,
    });
    if (event.type === 'limit') turn.limit_json = JSON.stringify(event.limit);
    if (event.type === 'result') {
      turn.result_ok = event.ok ? 1 : 0;
      turn.result_reason = event.reason;
    }
  }
}

function closeTurn(tx: Tx, turn: TurnRow, verdict: OutcomeVerdict, input: SettleInput): void {
  tx.run(
    `UPDATE turns SET ended_at = :now, outcome = :outcome, reason = :reason, exit_code = :code, exit_signal = :signal,
       tree_empty = :tree_empty, survivors = :survivors, leftovers = :leftovers, limit_json = :limit_json, result_ok = :result_ok,
       result_reason = :result_reason
     WHERE session_id = :id AND turn = :turn`,
    {
      id: turn.session_id,
      turn: turn.turn,
      now: input.now,
      outcome: verdict.outcome,
      reason: verdict.reason,
      code: input.exit?.code ?? null,
      signal: input.exit?.signal ?? null,
      tree_empty: input.tree_empty ? 1 : 0,
      survivors: input.survivors,
      leftovers: leftoversOf(turn, input),
      limit_json: turn.limit_json,
      result_ok: turn.result_ok,
      result_reason: turn.result_reason,
    },
  );
  appendEvent(tx, {
    session_id: turn.session_id,
    turn: turn.turn,
    type: 'turn_end',
    data: { ...verdict, exit: input.exit, leftovers: leftoversOf(turn, input), survivors: input.survivors },
    at: input.now,
  });
}

/** When drover ended the turn, what it ended was not left behind. */
function leftoversOf({ end_cause }: TurnRow, { leftovers }: SettleInput): number {
  return end_cause === null || end_cause === 'lingering' ? leftovers : 0;
}

interface Ending {
  session: SessionRow;
  turn: TurnRow;
  verdict: OutcomeVerdict;
  settlement: Settlement;
  input: SettleInput;
}

function applySettlement(tx: Tx, { session, turn, verdict, settlement, input }: Ending): boolean {
  // Who parked it while the turn ran had a reason that does not end with a limit's.
  if (settlement.event === 'park' && session.state === 'parked') return false;
  const set = {
    attempt: isSuccess(verdict.outcome) ? 0 : settlement.attempt,
    // An interruption is a step of the watchdog's ladder; any other end was not its doing, and what follows begins anew.
    ...(verdict.outcome === 'cancelled' ? {} : OFF_LADDER),
    next_turn_at: settlement.next_turn_at,
    ...(settlement.remind ? { is_reminded: 1 } : {}),
    ...(settlement.event === 'park'
      ? {
          ...{ parked_reason: settlement.parked_reason, parked_evidence: turn.limit_json },
          ...{ resume_at: settlement.resume_at, parked_pool: settlement.parked_pool },
        }
      : {}),
    ...heldByGate(settlement, input.gate ?? null),
    ...(verdict.reason === UNKNOWN_SESSION ? { native_session_id: null } : {}),
    ...(turn.result_text === null ? {} : { result_text: turn.result_text }),
    // The brief of an interruption stays with the session until a turn that carried it has ended well.
    ...(settlement.mail === 'confirm' ? { interrupt_reason: null } : {}),
    ...(verdict.outcome === 'cancelled' && turn.end_cause !== null ? { interrupt_reason: turn.end_cause } : {}),
  };
  const moved = transition(tx, {
    session_id: session.id,
    event: settlement.event,
    actor: 'supervisor',
    now: input.now,
    reason: settlement.reason,
    fence: turn.turn,
    set,
  });
  if (!moved.ok) return false;
  if (settlement.remind) {
    insertMail(
      tx,
      {
        from_name: SYSTEM,
        from_id: null,
        to_name: session.name,
        to_id: session.id,
        type: 'reminder',
        priority: 'high',
        subject: 'Your work is not reported as done yet',
        body: input.contract_hint,
        payload_json: null,
      },
      input.now,
    );
  }
  if (settlement.send_back && input.gate) sendBack(tx, moved.row, settlement, input.gate, input.now);
  if (isTerminal(moved.row.state)) {
    endEffects(tx, moved.row, {
      now: input.now,
      died: settlement.died,
      reason: settlement.reason,
      terminated_by: settlement.event === 'bury' ? 'tier0' : 'runner',
    });
  }
  return true;
}

/**
 * Ends a session that has no turn to settle, or ahead of its turn: `stop`, spawn errors, the watchdog's `bury`.
 * A turn that is still open is marked to be ended. Returns the row, or null when the state did not allow it (somebody
 * was first).
 */
export async function endSession(
  store: Store,
  input: {
    session_id: string;
    event: 'stop' | 'fail' | 'bury' | 'clean';
    actor: Actor;
    reason: string;
    fence?: number;
    died: boolean;
    terminated_by?: EndEffects['terminated_by'];
    now: number;
  },
): Promise<SessionRow | null> {
  return store.write((tx) => {
    const moved = transition(tx, input);
    if (!moved.ok) return null;
    tx.run('UPDATE turns SET end_cause = coalesce(end_cause, :cause) WHERE session_id = :id AND ended_at IS NULL', {
      id: input.session_id,
      cause: input.event === 'stop' ? 'stop' : 'stuck',
    });
    if (moved.prev !== 'zombie') {
      endEffects(tx, moved.row, {
        now: input.now,
        died: input.died,
        reason: input.reason,
        terminated_by: input.terminated_by ?? 'runner',
      });
    }
    return moved.row;
  });
}

/**
 * A claimed turn whose process could not be started: the turn is closed, its mail released and the session failed with
 * the reason, in one transaction (E-009, CX-34).
 */
export async function abortTurn(
  store: Store,
  input: { session_id: string; turn: number; reason: string; now: number },
): Promise<boolean> {
  return store.write((tx) => {
    const closed = tx.run(
      `UPDATE turns SET ended_at = :now, outcome = 'crashed', reason = :reason, tree_empty = 1
       WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL`,
      input,
    );
    if (closed === 0) return false;
    settleInput(tx, input.session_id, input.turn, 'release', input.now);
    appendEvent(tx, {
      session_id: input.session_id,
      turn: input.turn,
      type: 'error',
      level: 'error',
      data: { message: input.reason },
      at: input.now,
    });
    const moved = transition(tx, {
      session_id: input.session_id,
      event: 'fail',
      actor: 'supervisor',
      now: input.now,
      reason: input.reason,
      fence: input.turn,
    });
    if (moved.ok)
      endEffects(tx, moved.row, { now: input.now, died: true, reason: input.reason, terminated_by: 'runner' });
    return true;
  });
}
