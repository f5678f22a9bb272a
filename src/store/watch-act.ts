import { isInFlight, type SessionRow } from '../model/session.ts';
import type { EndCause } from '../model/turn.ts';
import { nudgeIn } from './control.ts';
import { endEffects } from './end-effects.ts';
import { eventsAfter } from './event-batch.ts';
import type { MailDraft } from './mail.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';
import { transition } from './transition.ts';
import { appendVerdict, type VerdictDraft } from './verdict.ts';
import { isOfTool, toolPart } from './watched.ts';

/**
 * What the watchdog does about one turn. Every act is one transaction with its verdict, and happens only while its turn
 * is the one in flight, nobody has decided to end it and what the verdict is about still holds: a verdict about turn 3
 * must not end turn 4, nor one about silence a turn that speaks, nor one about a loop a turn that has left it (MODEL §2.5, §2.7).
 */
export interface Act {
  verdict: VerdictDraft;
  /** Events of the turn when it was judged; null: the verdict does not depend on them. */
  events: number | null;
  /** The way of working that the verdict is about; null or absent: it is about something else. */
  behaviour?: Behaviour | null;
  /** The rung of the ladder after the act; null: left as it is. */
  rung: Rung | null;
}

/** It still holds while the turn has no result and calls no tool in another way. */
export interface Behaviour {
  /** The newest tool event that was compared, and what those of its cycle say (`toolPart`); null: calls do not matter. */
  calls: { seq: number; parts: readonly string[] } | null;
}

export interface Rung {
  level: number;
  cause: string;
}

/** The session, while the act may still happen. For use inside its transaction, as is `record`. */
export function standing(
  tx: Tx,
  { verdict, events, behaviour = null }: Act,
  end_cause: EndCause | null = null,
): SessionRow | null {
  const turn = tx.get<{ events: number; result_at: number | null }>(
    `SELECT events, result_at FROM turns
     WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL AND end_cause IS :end_cause`,
    { session_id: verdict.session_id, turn: verdict.turn, end_cause },
  );
  if (turn === null || (events !== null && turn.events !== events)) return null;
  if (behaviour !== null && (turn.result_at !== null || hasOtherCalls(tx, verdict, behaviour))) return null;
  if (verdict.triage_id != null && isUsed(tx, verdict.triage_id)) return null;
  return readSession(tx, verdict.session_id);
}

function hasOtherCalls(tx: Tx, { session_id, turn }: VerdictDraft, { calls }: Behaviour): boolean {
  if (calls === null) return false;
  const newer = eventsAfter(tx, { session_id, turn, after_seq: calls.seq, limit: Number.MAX_SAFE_INTEGER });
  return newer.some((row) => isOfTool(row) && !calls.parts.includes(toolPart(row)));
}

/** Somebody has acted upon this answer. */
function isUsed(tx: Tx, triage_id: string): boolean {
  return tx.get("SELECT 1 FROM verdicts WHERE triage_id = :triage_id AND act <> 'triage'", { triage_id }) !== null;
}

export function record(tx: Tx, { verdict, rung }: Act): void {
  appendVerdict(tx, verdict);
  if (rung === null) return;
  tx.run(
    `UPDATE sessions SET escalation_level = :level, escalated_at = :at, escalation_cause = :cause
     WHERE id = :id AND turn = :turn AND ended_at IS NULL`,
    { level: rung.level, cause: rung.cause, at: verdict.at, id: verdict.session_id, turn: verdict.turn },
  );
}

/** A changed verdict, or a step that changes nothing but the rung. False: somebody was first. */
export async function recordStep(store: Store, act: Act): Promise<boolean> {
  return store.write((tx) => {
    if (standing(tx, act, null) === null) return false;
    record(tx, act);
    return true;
  });
}

/** A verdict alone, also about a turn that is just being ended. */
export async function recordVerdict(store: Store, verdict: VerdictDraft): Promise<void> {
  await store.write((tx) => appendVerdict(tx, verdict));
}

/** The turn is well again: its session leaves the ladder, together with the verdict that says so (null: it was said before). */
export async function leaveLadder(
  store: Store,
  { session_id, turn }: { session_id: string; turn: number },
  verdict: VerdictDraft | null,
): Promise<boolean> {
  return store.write((tx) => {
    const left = tx.run(
      `UPDATE sessions SET escalation_level = 0, escalated_at = NULL, escalation_cause = NULL
       WHERE id = :session_id AND turn = :turn AND ended_at IS NULL`,
      { session_id, turn },
    );
    if (verdict !== null) appendVerdict(tx, verdict);
    return left === 1;
  });
}

/** The first step: the state says that there is no progress, and the process goes on. */
export async function noteStall(store: Store, act: Act): Promise<boolean> {
  return store.write((tx) => {
    if (standing(tx, act) === null) return false;
    const { session_id, turn, evidence, at } = act.verdict;
    transition(tx, { session_id, event: 'stall', actor: 'watchdog', now: at, reason: evidence, fence: turn });
    record(tx, act);
    return true;
  });
}

/**
 * Mail that says why, and with `interrupt` the end of the turn in flight, so that the next one starts with it. `anew`: the
 * next turn begins a conversation of its own, with role, rules and task.
 */
export async function nudgeTurn(
  store: Store,
  act: Act,
  nudge: { draft: Omit<MailDraft, 'to_id' | 'to_name'>; interrupt: boolean; anew?: boolean },
): Promise<boolean> {
  return store.write((tx) => {
    const row = standing(tx, act);
    if (row === null || row.ended_at !== null) return false;
    const { draft, interrupt, anew = false } = nudge;
    nudgeIn(tx, row, { draft, interrupt, now: act.verdict.at });
    if (anew) tx.run('UPDATE sessions SET native_session_id = NULL WHERE id = :id', { id: row.id });
    record(tx, act);
    return true;
  });
}

/** A timer of the turn ran out long ago, or its end was decided, and nobody acted: it is ended as the timer says. */
export async function endOverdue(store: Store, act: Act, cause: EndCause, decided: EndCause | null): Promise<boolean> {
  return store.write((tx) => {
    if (standing(tx, act, decided) === null) return false;
    tx.run(`UPDATE turns SET end_cause = :cause WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL`, {
      cause,
      session_id: act.verdict.session_id,
      turn: act.verdict.turn,
    });
    record(tx, act);
    return true;
  });
}

/**
 * The last step: zombie, the parent's notification and its `worker_died` mail, before the first signal is sent (O-71,
 * MODEL §2.5). Returns the row, or null when somebody was first.
 */
export async function buryTurn(
  store: Store,
  act: Act,
  end: { reason: string; terminated_by: 'tier0' | 'tier1'; notify_parent: boolean },
): Promise<SessionRow | null> {
  return store.write((tx) => {
    const before = standing(tx, act);
    if (before === null || !isInFlight(before.state)) return null;
    const { session_id, turn, at } = act.verdict;
    const { reason, terminated_by } = end;
    const moved = transition(tx, { session_id, event: 'bury', actor: 'watchdog', now: at, reason, fence: turn });
    if (!moved.ok) return null;
    tx.run(
      "UPDATE turns SET end_cause = 'stuck' WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL",
      {
        session_id,
        turn,
      },
    );
    endEffects(tx, moved.row, { now: at, died: end.notify_parent, reason, terminated_by });
    appendVerdict(tx, act.verdict);
    return moved.row;
  });
}
