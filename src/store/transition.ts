import {
  type Actor,
  isInFlight,
  isTerminal,
  legalFrom,
  SESSION_EVENTS,
  type SessionEvent,
  type SessionRow,
  type SessionState,
} from '../model/session.ts';
import { sqlList } from './sql-list.ts';
import type { Params, Tx } from './store.ts';

/** Result of a guarded write (O-08). A miss is not an error: somebody was first. */
export type Transition =
  | { ok: true; prev: SessionState; row: SessionRow }
  | { ok: false; reason: 'not_found'; prev: null }
  | { ok: false; reason: 'illegal_transition'; prev: SessionState };

/** Columns a transition may set beside the state. */
export type SessionPatch = Partial<
  Pick<
    SessionRow,
    | 'turn'
    | 'attempt'
    | 'resume_count'
    | 'death_no'
    | 'is_reminded'
    | 'contract_met_at'
    | 'gate_round'
    | 'next_turn_at'
    | 'interrupt_reason'
    | 'token_hash'
    | 'end_reason'
    | 'parked_reason'
    | 'parked_evidence'
    | 'resume_at'
    | 'result_text'
    | 'native_session_id'
    | 'stalled_since'
    | 'escalation_level'
    | 'escalated_at'
    | 'escalation_cause'
    | 'parked_pool'
    | 'last_activity_at'
    | 'worktree_path'
    | 'branch'
    | 'base_commit'
    | 'working_dir'
  >
>;

export interface TransitionInput {
  session_id: string;
  event: SessionEvent;
  actor: Actor;
  now: number;
  reason?: string | null;
  /** The turn this write speaks of; required for fenced events (MODEL: a verdict about turn 3 must not end turn 4). */
  fence?: number;
  set?: SessionPatch;
}

/**
 * The only way a session changes its state: one UPDATE whose `IN (…)` comes from the table in `model/session.ts`
 * (O-05…O-12, I1). Writes `state_log` in the same transaction. Leaving a terminal or parked state clears what only
 * belongs to it; entering a terminal one clears what a dead session cannot have (§2.4).
 */
export function transition(tx: Tx, input: TransitionInput): Transition {
  const rule = SESSION_EVENTS[input.event];
  const before = tx.get<{ state: SessionState }>('SELECT state FROM sessions WHERE id = :id', { id: input.session_id });
  if (before === null) return { ok: false, reason: 'not_found', prev: null };
  const set: Params = { ...cleared(rule.to, input), ...(input.set as Params | undefined) };
  const params: Params = { id: input.session_id, to: rule.to, now: input.now };
  for (const [column, value] of Object.entries(set)) params[`set_${column}`] = value;
  if (rule.fenced) params.fence = input.fence ?? -1;
  const row = tx.get<SessionRow>(updateOf(input.event, Object.keys(set)), params);
  if (row === null) return { ok: false, reason: 'illegal_transition', prev: before.state };
  tx.run(
    `INSERT INTO state_log (session_id, from_state, to_state, event, actor, reason, turn, at)
     VALUES (:id, :from_state, :to, :event, :actor, :reason, :turn, :now)`,
    {
      id: input.session_id,
      from_state: before.state,
      to: rule.to,
      event: input.event,
      actor: input.actor,
      reason: input.reason ?? null,
      turn: row.turn,
      now: input.now,
    },
  );
  return { ok: true, prev: before.state, row };
}

const updates = new Map<string, string>();

/** The UPDATE for an event that sets these columns beside the state. */
function updateOf(event: SessionEvent, columns: string[]): string {
  const key = `${event} ${columns}`;
  let sql = updates.get(key);
  if (sql === undefined) {
    const rule = SESSION_EVENTS[event];
    const fence = rule.fenced ? ' AND turn = :fence' : '';
    const held = rule.to === 'queued' ? ` AND ${NOT_HELD}` : '';
    sql = `UPDATE sessions SET state = :to, updated_at = :now${columns.map((column) => `, ${column} = :set_${column}`).join('')}
     WHERE id = :id AND state IN (${sqlList(legalFrom(event))})${fence}${held} RETURNING *`;
    updates.set(key, sql);
  }
  return sql;
}

/** Whatever would bring it back (a person, mail, time, its pool): not while an open incident holds it (CX-27). */
const NOT_HELD =
  'NOT EXISTS (SELECT 1 FROM incidents AS i WHERE i.paused_session_id = sessions.id AND i.resolved_at IS NULL)';

/** No step of the watchdog's ladder was taken (O-35). */
export const OFF_LADDER = { escalation_level: 0, escalated_at: null, escalation_cause: null };
const LEAVES_LADDER: ReadonlySet<SessionEvent> = new Set(['progress', 'resume', 'release']);

function cleared(to: SessionState, input: TransitionInput): Params {
  const set: Params = {};
  if (isTerminal(to)) {
    Object.assign(set, { ended_at: input.now, end_reason: input.reason ?? null, next_turn_at: null });
  } else {
    Object.assign(set, { ended_at: null, end_reason: null });
  }
  // A token is valid during its turn and no longer.
  if (!isInFlight(to)) set.token_hash = null;
  if (to !== 'parked')
    Object.assign(set, { parked_reason: null, parked_evidence: null, resume_at: null, parked_pool: null });
  set.stalled_since = to === 'stalled' ? input.now : null;
  // An interruption and the turn after it are steps of the ladder: what ends it is progress, or a new beginning.
  if (isTerminal(to) || LEAVES_LADDER.has(input.event)) Object.assign(set, OFF_LADDER);
  return set;
}
