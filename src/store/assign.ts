import {
  type Assignment,
  assign,
  CONTEXT_LIMIT,
  DELEGATE_STATES,
  type DelegateFact,
  delegatesFor,
  handoffContext,
} from '../model/assign.ts';
import type { DispatchRow } from '../model/dispatch.ts';
import { AppError } from '../model/error.ts';
import type { Actor, SessionRow } from '../model/session.ts';
import { isHalted } from './halted.ts';
import { insertMail } from './mail.ts';
import { insertSessionIn, type Sling } from './new-session.ts';
import { readSession } from './session.ts';
import { sqlList } from './sql-list.ts';
import type { Store, Tx } from './store.ts';

/** What decides who of a lead's delegates gets a task. */
export interface AssignInput {
  lead_id: string;
  task: string;
  /** Whether a session's harness is the one that is asked for. */
  is_harness: (label: string) => boolean;
  max_delegates: number;
}

/** A delegation is a handoff that was mailed (E-082). */
const DELEGATES = `SELECT s.id, s.name, s.harness, s.state, s.updated_at,
    (SELECT count(*) FROM mail AS m WHERE m.to_id = s.id AND m.type = 'task_handoff' AND m.read_at IS NULL) AS unread_handoffs
  FROM sessions AS s
  WHERE s.state IN (${sqlList(DELEGATE_STATES)}) AND s.id <> :lead_id
    AND s.id IN (SELECT to_id FROM mail WHERE from_id = :lead_id AND type = 'task_handoff')`;

const CONTEXT =
  'SELECT path FROM file_activity WHERE session_id = :id GROUP BY path ORDER BY max(seq) DESC LIMIT :limit';

function decideIn(tx: Tx, { lead_id, task, is_harness, max_delegates }: AssignInput): Assignment {
  const children = tx.all<Omit<DelegateFact, 'context'>>(DELEGATES, { lead_id }).map((child) => ({
    ...child,
    context: tx.all<{ path: string }>(CONTEXT, { id: child.id, limit: CONTEXT_LIMIT }).map(({ path }) => path),
  }));
  return assign({ task, delegates: delegatesFor(children, is_harness), max_delegates });
}

/** The decision alone, without any effect (E-099). */
export async function previewAssignment(store: Store, input: AssignInput): Promise<Assignment> {
  return store.read((tx) => decideIn(tx, input));
}

export interface Assigned {
  assignment: Assignment;
  /** Who got it; null: nobody, and the request is as it was. */
  session_id: string | null;
}

/**
 * Chooses who does a targeted request, hands it over and ends the request, all in one transaction: no two take the same
 * idle delegate (I13), and no death in between hands it over twice (I10). Null: it is not pending any more, or everything is
 * halted.
 * Throws `lead_ended` (3) and what `insertSessionIn` throws; then it is still pending.
 */
export async function assignDispatch(
  store: Store,
  input: AssignInput & { id: string; sling: Sling; actor: Actor; now: number },
): Promise<Assigned | null> {
  const { id, lead_id, now } = input;
  return store.write((tx) => {
    if (isHalted(tx)) return null;
    const request = tx.get<DispatchRow>("SELECT * FROM dispatch_requests WHERE id = :id AND state = 'pending'", { id });
    if (request === null) return null;
    const lead = liveLead(tx, lead_id);
    const assignment = decideIn(tx, input);
    const { action, delegate, reason } = assignment;
    if (action === 'deferred_saturated' || reason === null) return { assignment, session_id: null };
    const session = delegate ?? insertSessionIn(tx, input.sling, input.actor);
    const context = handoffContext(lead, reason);
    // A new one has the task as its brief.
    const body = delegate === null ? context : `${request.task}\n\n${context}`;
    const { priority } = request;
    insertMail(
      tx,
      {
        ...{ from_name: lead.name, from_id: lead.id, to_name: session.name, to_id: session.id, type: 'task_handoff' },
        ...{ priority, subject: 'A task for you', body },
        payload_json: JSON.stringify({ request_id: id, context, priority, routing_reason: reason }),
      },
      now,
    );
    tx.run(
      `UPDATE dispatch_requests SET state = 'dispatched', result_action = :action, result_session_id = :session_id,
         updated_at = :now WHERE id = :id AND state = 'pending'`,
      { id, action, session_id: session.id, now },
    );
    return { assignment, session_id: session.id };
  });
}

function liveLead(tx: Tx, lead_id: string): SessionRow {
  const lead = readSession(tx, lead_id);
  if (lead !== null && lead.ended_at === null) return lead;
  throw new AppError('refused', 'lead_ended', `The session ${lead?.name ?? lead_id} has ended and leads nobody.`, {
    hint: 'Ask again without --to, or name a session that lives.',
    preserved: 'nothing was handed over',
  });
}
