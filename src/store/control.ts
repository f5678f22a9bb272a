import { AppError } from '../model/error.ts';
import type { MailRow } from '../model/mail.ts';
import { NUDGE_DEBOUNCE_MS } from '../model/mail.ts';
import type { Actor, SessionRow, SessionState } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import type { EndCause } from '../model/turn.ts';
import { refuseSpent } from './budget.ts';
import { endEffects } from './end-effects.ts';
import { refuseHalted } from './halted.ts';
import { passIncidents } from './incident-list.ts';
import { hasInput, insertMail, type MailDraft } from './mail.ts';
import { checkSuccession, holdSlot } from './new-session.ts';
import { type TakenUp, takeUpStepIn } from './plan-reopen.ts';
import { movePool, noteOn } from './pool.ts';
import type { OwnerProbe } from './reservation.ts';
import { NOBODY_KNOWS, reacquireReservations, reserveBranch } from './reservation-session.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';
import { transition } from './transition.ts';

export interface Ended {
  changed: boolean;
  prev: SessionState;
  row: SessionRow;
  /** Number of the turn that has to be ended now; null when no process runs. */
  open_turn: number | null;
  /** The step of a plan that goes on with it, after it had failed. */
  taken_up?: TakenUp | null;
}

function markOpenTurn(tx: Tx, session_id: string, cause: EndCause): number | null {
  return (
    tx.get<{ turn: number }>(
      `UPDATE turns SET end_cause = coalesce(end_cause, :cause) WHERE session_id = :session_id AND ended_at IS NULL RETURNING turn`,
      { session_id, cause },
    )?.turn ?? null
  );
}

function must(tx: Tx, session_id: string): SessionRow {
  const row = readSession(tx, session_id);
  if (row === null) throw new AppError('not_found', 'session_not_found', `Session not found: ${session_id}`);
  return row;
}

/**
 * Any live state → stopped, zombie → completed, everything else unchanged (CX-07, CX-45, O-77). The state is written
 * before any signal is sent, so that the turn's own settle loses (MODEL §2.5).
 */
export async function stopSession(store: Store, input: StopInput): Promise<Ended> {
  return store.write((tx) => stopIn(tx, input));
}

interface StopInput {
  session_id: string;
  actor: Actor;
  reason: string;
  now: number;
}

/** The same inside another transaction. */
export function stopIn(tx: Tx, input: StopInput): Ended {
  const before = must(tx, input.session_id);
  const moved = transition(tx, { ...input, event: before.state === 'zombie' ? 'clean' : 'stop' });
  const open_turn = markOpenTurn(tx, before.id, 'stop');
  if (!moved.ok) return { changed: false, prev: before.state, row: before, open_turn };
  if (moved.prev !== 'zombie')
    endEffects(tx, moved.row, { now: input.now, died: false, reason: input.reason, terminated_by: 'runner' });
  return { changed: true, prev: moved.prev, row: moved.row, open_turn };
}

/** Any live state → parked (operator); ends a turn in flight. */
export async function pauseSession(
  store: Store,
  input: { session_id: string; reason: string; now: number },
): Promise<Ended> {
  return store.write((tx) => {
    const before = must(tx, input.session_id);
    const evidence = JSON.stringify({ by: 'operator', text: input.reason, from: before.state });
    const set = {
      parked_reason: 'operator' as const,
      parked_evidence: evidence,
      resume_at: null,
      parked_pool: null,
      interrupt_reason: 'pause',
    };
    const moved = transition(tx, { ...input, event: 'pause', actor: 'cli', set });
    const open_turn = moved.ok ? markOpenTurn(tx, before.id, 'pause') : null;
    return moved.ok
      ? { changed: true, prev: moved.prev, row: moved.row, open_turn }
      : { changed: false, prev: before.state, row: before, open_turn };
  });
}

/**
 * Parks a live session until an instant, at which it goes on by itself (C-12, the window of a plan); ends a turn in flight.
 * False: it is parked already, for whatever reason, or has ended.
 */
export async function holdSession(
  store: Store,
  input: { session_id: string; reason: string; until: number; now: number },
): Promise<boolean> {
  const { session_id, reason, until, now } = input;
  return store.write((tx) => {
    const before = must(tx, session_id);
    if (before.state === 'parked') return false;
    const set = {
      parked_reason: 'operator' as const,
      parked_evidence: JSON.stringify({ by: 'plan', text: reason, from: before.state, until }),
      resume_at: until,
      parked_pool: null,
      interrupt_reason: 'pause',
    };
    const moved = transition(tx, { session_id, reason, now, event: 'pause', actor: 'supervisor', set });
    if (moved.ok) markOpenTurn(tx, session_id, 'pause');
    return moved.ok;
  });
}

/**
 * parked, failed or stopped → queued, with a mail that says so when nothing else is waiting (CX-04). Others unchanged.
 * Who was parked by its pool goes first of all, as the pool's probe: a person says "try now".
 * Throws `incident_open`, `budget_spent`, `turn_still_ending`, `taken_over`, `name_taken`, `live_owner` and `pool_probing`,
 * and `halted` when a session says so while a halt stands (all 3).
 */
export async function resumeSession(
  store: Store,
  input: {
    session_id: string;
    brief: Omit<MailDraft, 'to_id' | 'to_name'>;
    interrupt_reason: string;
    always_brief: boolean;
    /** In spite of an open incident. */
    force?: boolean;
    /** Whether who has taken a thread of it by now still lives; without it nobody knows. */
    probe?: OwnerProbe;
    /** Midnight, for the budgets of a day; without it what was ever spent counts. */
    day?: number;
    now: number;
  },
): Promise<Ended> {
  return store.write((tx) => {
    if (input.brief.from_id !== null) refuseHalted(tx, 'nothing was changed');
    const before = must(tx, input.session_id);
    const canResume = before.state === 'parked' || before.state === 'failed' || before.state === 'stopped';
    if (canResume)
      passIncidents(tx, before, { force: input.force ?? false, by: input.brief.from_name, now: input.now });
    if (canResume) refuseSpent(tx, before, input.day ?? 0);
    if (canResume) checkSuccession(tx, before.id, before.worktree_path);
    if (canResume && before.ended_at !== null) checkName(tx, before);
    const moved = transition(tx, {
      session_id: before.id,
      event: 'resume',
      actor: 'cli',
      now: input.now,
      set: {
        attempt: 0,
        is_reminded: 0,
        // Who is put back to work owes a new report.
        contract_met_at: null,
        // Somebody has looked at it: its gate may be red as often as before.
        gate_round: 0,
        next_turn_at: null,
        resume_count: before.resume_count + 1,
        interrupt_reason: input.interrupt_reason,
      },
    });
    if (!moved.ok) return { changed: false, prev: before.state, row: before, open_turn: null };
    if (moved.row.worktree_path !== null) holdSlot(tx, moved.row);
    const { probe = NOBODY_KNOWS, now } = input;
    if (before.ended_at !== null) reacquireReservations(tx, before, probe, now);
    reserveBranch(tx, moved.row, { probe, now });
    if (before.parked_pool !== null) tryPool(tx, before, before.parked_pool, input.now);
    if (input.always_brief || !hasInput(tx, before.id))
      insertMail(tx, { ...input.brief, to_id: before.id, to_name: before.name }, input.now);
    const taken_up = takeUpStepIn(tx, { session: before, by_person: input.brief.from_id === null, now });
    return { changed: true, prev: moved.prev, row: moved.row, open_turn: null, taken_up };
  });
}

function tryPool(tx: Tx, session: SessionRow, name: string, now: number): void {
  const { before, after } = movePool(tx, name, { type: 'probe', session_id: session.id }, now);
  if (before.state === 'blocked') noteOn(tx, session, after, now);
  if (before.state !== 'probing') return;
  const probe = readSession(tx, before.probe_id ?? '');
  const who = probe === null ? 'Another session' : `${probe.name} (${probe.id})`;
  throw new AppError('refused', 'pool_probing', `${who} is trying the pool ${name} just now.`, {
    hint: `Wait for it, or open the pool for everybody: drover pools release ${quoted(name)}`,
    preserved: 'nothing was changed',
    recovery_commands: ['drover pools', `drover pools release ${quoted(name)}`],
  });
}

function checkName(tx: Tx, row: SessionRow): void {
  const other = tx.get<{ id: string }>('SELECT id FROM sessions WHERE name = :name AND ended_at IS NULL', {
    name: row.name,
  });
  if (other === null) return;
  throw new AppError('refused', 'name_taken', `Another live session is called ${row.name} by now (${other.id}).`, {
    hint: 'Stop that one first, or use `drover recover`, which finds a free name.',
    preserved: 'nothing was changed',
  });
}

export interface Nudged {
  mail: MailRow;
  /** False: the same nudge was stored a moment ago. */
  changed: boolean;
  row: SessionRow;
  /** The turn that is being ended because of it, or null. */
  interrupted_turn: number | null;
}

/** Stores a nudge; with `interrupt` the turn in flight is ended first and the next one gets a brief (C-09, O-75). */
export async function nudgeSession(
  store: Store,
  input: { session_id: string; draft: Omit<MailDraft, 'to_id' | 'to_name'>; interrupt: boolean; now: number },
): Promise<Nudged> {
  return store.write((tx) => {
    const row = must(tx, input.session_id);
    if (row.ended_at !== null) {
      const verb = row.state === 'zombie' || row.state === 'completed' ? 'recover' : 'resume';
      throw new AppError('refused', 'recipient_ended', `${row.name} is ${row.state}; a nudge cannot wake it.`, {
        hint: `Bring it back: drover ${verb} ${row.name}`,
        preserved: 'nothing was changed',
        recovery_commands: [`drover ${verb} ${row.name}`],
      });
    }
    return nudgeIn(tx, row, input);
  });
}

/** The same for a live session inside another transaction. */
export function nudgeIn(
  tx: Tx,
  row: SessionRow,
  input: { draft: Omit<MailDraft, 'to_id' | 'to_name'>; interrupt: boolean; now: number },
): Nudged {
  const last = tx.get<MailRow>(
    `SELECT * FROM mail WHERE to_id = :id AND type = 'nudge' AND read_at IS NULL AND delivered_turn IS NULL
       AND created_at > :since AND body = :body ORDER BY seq DESC LIMIT 1`,
    { id: row.id, since: input.now - NUDGE_DEBOUNCE_MS, body: input.draft.body },
  );
  const mail = last ?? insertMail(tx, { ...input.draft, to_id: row.id, to_name: row.name }, input.now);
  const interrupted_turn = input.interrupt ? markOpenTurn(tx, row.id, 'interrupt') : null;
  // A nudge is also the word of a person that waiting for a back-off is over.
  tx.run("UPDATE sessions SET next_turn_at = NULL WHERE id = :id AND state IN ('idle','queued')", { id: row.id });
  return { mail, changed: last === null, row, interrupted_turn };
}
