import { MAIL_SUBJECT_LIMIT, type MailRow, SYSTEM } from '../model/mail.ts';
import type { SessionRow } from '../model/session.ts';
import { insertMail } from './mail.ts';
import { endReservations } from './reservation-session.ts';
import { announceRun } from './run.ts';
import { readSession } from './session.ts';
import type { Tx } from './store.ts';

export interface EndEffects {
  now: number;
  /** Tell the parent by `worker_died` as well. */
  died: boolean;
  reason: string;
  terminated_by: 'tier0' | 'tier1' | 'runner';
}

/**
 * What goes with every terminal state, in the transaction of its transition (MODEL §2.4): one notification for the
 * parent per death (I15), a `worker_died` mail when it died rather than finished (O-31, O-32), and word of its run's end.
 */
export function endEffects(tx: Tx, row: SessionRow, effects: EndEffects): void {
  tx.run('UPDATE sessions SET death_no = death_no + 1 WHERE id = :id', { id: row.id });
  answerForTheDead(tx, row, effects.now);
  endReservations(tx, row, effects.now);
  announceRun(tx, row, effects.now);
  if (row.parent_id === null) return;
  const parent = readSession(tx, row.parent_id);
  // A parent that was stopped or failed may be resumed, and must learn then what became of its children.
  if (parent === null || parent.state === 'completed' || parent.state === 'zombie') return;
  const isFailed = row.state !== 'completed';
  tx.run(
    `INSERT INTO notifications (parent_id, child_id, child_name, death_no, is_failed, body, created_at)
     VALUES (:parent_id, :child_id, :child_name, :death_no, :is_failed, :body, :now) ON CONFLICT (child_id, death_no) DO NOTHING`,
    {
      parent_id: parent.id,
      child_id: row.id,
      child_name: row.name,
      death_no: row.death_no + 1,
      is_failed: isFailed ? 1 : 0,
      body: isFailed ? `${row.state}: ${effects.reason}` : reportedResult(row),
      now: effects.now,
    },
  );
  if (!effects.died) return;
  const payload = {
    agentName: row.name,
    capability: row.role,
    taskId: row.id,
    reason: effects.reason,
    lastActivity: row.last_activity_at === null ? null : new Date(row.last_activity_at).toISOString(),
    terminatedBy: effects.terminated_by,
  };
  insertMail(
    tx,
    {
      from_name: row.name,
      from_id: row.id,
      to_name: parent.name,
      to_id: parent.id,
      type: 'worker_died',
      priority: 'high',
      subject: `${row.name} ended: ${effects.reason}`,
      body: `The session ${row.name} (${row.role}) is ${row.state}: ${effects.reason}.`,
      payload_json: JSON.stringify(payload),
    },
    effects.now,
  );
}

/** Characters of a child's answer that go into its parent's prompt, beside those of its other children. */
const REPORTED_LIMIT = 32 * 1024;

function reportedResult({ name, result_text }: SessionRow): string {
  const text = result_text ?? 'done';
  if (text.length <= REPORTED_LIMIT) return text;
  return `${text.slice(0, REPORTED_LIMIT).toWellFormed()}\n[cut by drover; all of it: drover show ${name}]`;
}

/** Who waits for an answer of a session that has ended would wait for ever: it is told in the same thread. */
function answerForTheDead(tx: Tx, row: SessionRow, now: number): void {
  const open = tx.all<MailRow>(
    `SELECT q.* FROM mail q JOIN sessions s ON s.id = q.from_id
     WHERE q.to_id = :id AND q.type IN ('question', 'decision_gate') AND s.ended_at IS NULL
       AND NOT EXISTS (SELECT 1 FROM mail a WHERE a.to_id = q.from_id AND a.thread_id = q.thread_id AND a.seq > q.seq)
     ORDER BY q.seq`,
    { id: row.id },
  );
  for (const question of open) {
    const draft = { from_name: SYSTEM, from_id: null, to_name: question.from_name, to_id: question.from_id };
    const subject = `No answer: ${row.name} is ${row.state}`.slice(0, MAIL_SUBJECT_LIMIT);
    const body = `${row.name} ended before it answered "${question.subject}". Go on without, or ask somebody else.`;
    insertMail(
      tx,
      { ...draft, type: 'error', priority: 'high', subject, body, payload_json: null, reply_to: question },
      now,
    );
  }
}
