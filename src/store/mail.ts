import { AppError } from '../model/error.ts';
import { newId } from '../model/id.ts';
import type { MailRow, MailType, NotificationRow, Priority } from '../model/mail.ts';
import type { SessionRow } from '../model/session.ts';
import type { Store, Tx } from './store.ts';

export interface MailDraft {
  from_name: string;
  from_id: string | null;
  to_name: string;
  to_id: string | null;
  type: MailType;
  priority: Priority;
  subject: string;
  body: string;
  payload_json: string | null;
  reply_to?: MailRow | null;
  sent_in_turn?: number | null;
}

export function insertMail(tx: Tx, draft: MailDraft, now: number): MailRow {
  const id = newId('mail');
  const row = tx.get<MailRow>(
    `INSERT INTO mail (id, from_name, from_id, to_name, to_id, type, priority, subject, body, payload_json, thread_id,
                       reply_to, sent_in_turn, created_at)
     VALUES (:id, :from_name, :from_id, :to_name, :to_id, :type, :priority, :subject, :body, :payload_json, :thread_id,
             :reply_to, :sent_in_turn, :now) RETURNING *`,
    {
      id,
      from_name: draft.from_name,
      from_id: draft.from_id,
      to_name: draft.to_name,
      to_id: draft.to_id,
      type: draft.type,
      priority: draft.priority,
      subject: draft.subject,
      body: draft.body,
      payload_json: draft.payload_json,
      thread_id: draft.reply_to?.thread_id ?? id,
      reply_to: draft.reply_to?.id ?? null,
      sent_in_turn: draft.sent_in_turn ?? null,
      now,
    },
  );
  if (row === null) throw new Error('the mail insert returned no row');
  return row;
}

/** Mail that no clean turn of an ended session has read goes to its successor: whoever sent it was told that it is stored. */
export function inheritMail(tx: Tx, ended_id: string, heir: Pick<SessionRow, 'id' | 'name'>): void {
  tx.run(
    `UPDATE mail SET to_id = :id, to_name = :name, delivered_turn = NULL
     WHERE to_id = :ended_id AND read_at IS NULL AND type NOT IN ('task', 'nudge', 'reminder')`,
    { id: heir.id, name: heir.name, ended_id },
  );
  tx.run(
    'UPDATE notifications SET parent_id = :id, delivered_turn = NULL WHERE parent_id = :ended_id AND delivered_at IS NULL',
    {
      id: heir.id,
      ended_id,
    },
  );
}

export interface Recipient {
  name: string;
  /** null for the operator. */
  id: string | null;
}

/**
 * Stores one mail per recipient in one transaction: all of them or none. Refuses ended recipients with advice (CX-57).
 * When a live session sends a terminal mail in its turn, the contract is recorded as met in the same transaction.
 */
export async function sendMail(
  store: Store,
  input: {
    draft: Omit<MailDraft, 'to_name' | 'to_id'>;
    to: Recipient[];
    sender: SessionRow | null;
    is_terminal: boolean;
    now: number;
  },
): Promise<MailRow[]> {
  return store.write((tx) => {
    const rows: MailRow[] = [];
    const turn = input.sender === null ? null : currentTurn(tx, input.sender.id);
    for (const recipient of input.to) {
      if (recipient.id !== null) checkRecipient(tx, recipient.id);
      rows.push(
        insertMail(tx, { ...input.draft, to_name: recipient.name, to_id: recipient.id, sent_in_turn: turn }, input.now),
      );
    }
    if (input.sender !== null) recordSent(tx, input.sender.id, turn, input);
    return rows;
  });
}

function currentTurn(tx: Tx, session_id: string): number | null {
  return (
    tx.get<{ turn: number }>('SELECT turn FROM turns WHERE session_id = :session_id AND ended_at IS NULL', {
      session_id,
    })?.turn ?? null
  );
}

function recordSent(
  tx: Tx,
  session_id: string,
  turn: number | null,
  input: { draft: { type: MailType }; is_terminal: boolean; now: number },
): void {
  if (input.is_terminal) {
    tx.run('UPDATE sessions SET contract_met_at = :now WHERE id = :session_id AND ended_at IS NULL', {
      now: input.now,
      session_id,
    });
  }
  if (turn === null) return;
  tx.run(
    'UPDATE turns SET terminal_mail = terminal_mail + :terminal, handoffs = handoffs + :handoffs WHERE session_id = :session_id AND turn = :turn',
    { terminal: input.is_terminal ? 1 : 0, handoffs: input.draft.type === 'task_handoff' ? 1 : 0, session_id, turn },
  );
}

function checkRecipient(tx: Tx, id: string): void {
  const row = tx.get<Pick<SessionRow, 'state' | 'name' | 'ended_at'>>(
    'SELECT state, name, ended_at FROM sessions WHERE id = :id',
    { id },
  );
  if (row === null) throw new AppError('not_found', 'recipient_not_found', `No session ${id}.`);
  if (row.ended_at === null) return;
  const verb = row.state === 'zombie' || row.state === 'completed' ? 'recover' : 'resume';
  throw new AppError('refused', 'recipient_ended', `${row.name} is ${row.state} and reads no mail.`, {
    hint: `Bring it back first: drover ${verb} ${row.name}`,
    preserved: 'no mail was stored',
    recovery_commands: [`drover ${verb} ${row.name}`],
  });
}

/** Live sessions by exact name. */
export async function liveByName(store: Store, name: string): Promise<SessionRow | null> {
  return store.read((tx) =>
    tx.get<SessionRow>('SELECT * FROM sessions WHERE name = :name AND ended_at IS NULL', { name }),
  );
}

/** The operator has seen it. Mail of sessions is read by their turns alone. */
export async function markOperatorRead(store: Store, ids: readonly string[], now: number): Promise<number> {
  return store.write((tx) => {
    let changes = 0;
    for (const id of ids)
      changes += tx.run('UPDATE mail SET read_at = :now WHERE id = :id AND to_id IS NULL AND read_at IS NULL', {
        now,
        id,
      });
    return changes;
  });
}

/** The brief first, then by priority, then by arrival. */
export const PROMPT_ORDER = `CASE type WHEN 'task' THEN 0 ELSE 1 END,
  CASE priority WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'normal' THEN 2 ELSE 3 END, seq`;

const WAITING = `SELECT seq, octet_length(body) + octet_length(subject) + coalesce(octet_length(payload_json), 0) AS size
  FROM mail WHERE to_id = :session_id AND read_at IS NULL AND delivered_turn IS NULL`;

const BATCH_BYTES = 512 * 1024;

export interface Claimed {
  mails: MailRow[];
  notifications: NotificationRow[];
}

/**
 * Reserves what waits for `session_id` for one turn's prompt (I4): by priority, then arrival, up to 512 KiB, and as much
 * of the oldest notifications. What does not fit waits for the next turn.
 */
export function claimInput(tx: Tx, session_id: string, turn: number): Claimed {
  // Mostly it is one, and sorting one costs as much as all the rest.
  const found = tx.all<{ seq: number; size: number }>(WAITING, { session_id });
  const waiting =
    found.length > 1 ? tx.all<(typeof found)[number]>(`${WAITING} ORDER BY ${PROMPT_ORDER}`, { session_id }) : found;
  const mails: MailRow[] = [];
  for (const { seq } of fitting(waiting)) {
    const row = tx.get<MailRow>(
      'UPDATE mail SET delivered_turn = :turn, deliveries = deliveries + 1 WHERE seq = :seq RETURNING *',
      { turn, seq },
    );
    if (row) mails.push(row);
  }
  const news = tx.all<{ seq: number; size: number }>(
    `SELECT seq, length(body) AS size FROM notifications
     WHERE parent_id = :session_id AND delivered_at IS NULL AND delivered_turn IS NULL ORDER BY seq`,
    { session_id },
  );
  const notifications: NotificationRow[] = [];
  for (const { seq } of fitting(news)) {
    const row = tx.get<NotificationRow>(
      'UPDATE notifications SET delivered_turn = :turn WHERE seq = :seq RETURNING *',
      { turn, seq },
    );
    if (row) notifications.push(row);
  }
  return { mails, notifications };
}

/** The first of them, at least one, that fit into one prompt together. */
function fitting<Each extends { size: number }>(waiting: readonly Each[]): Each[] {
  let bytes = 0;
  const at = waiting.findIndex(({ size }, i) => {
    bytes += size;
    return i > 0 && bytes > BATCH_BYTES;
  });
  return waiting.slice(0, at === -1 ? undefined : at);
}

/** Read only after a clean turn, released after any other (I5). */
export function settleInput(tx: Tx, session_id: string, turn: number, how: 'confirm' | 'release', now: number): void {
  const params = { session_id, turn, now };
  if (how === 'confirm') {
    tx.run(
      'UPDATE mail SET read_at = :now WHERE to_id = :session_id AND delivered_turn = :turn AND read_at IS NULL',
      params,
    );
    tx.run(
      'UPDATE notifications SET delivered_at = :now WHERE parent_id = :session_id AND delivered_turn = :turn AND delivered_at IS NULL',
      params,
    );
  } else {
    const { now: _unused, ...key } = params;
    tx.run(
      'UPDATE mail SET delivered_turn = NULL WHERE to_id = :session_id AND delivered_turn = :turn AND read_at IS NULL',
      key,
    );
    tx.run(
      'UPDATE notifications SET delivered_turn = NULL WHERE parent_id = :session_id AND delivered_turn = :turn AND delivered_at IS NULL',
      key,
    );
  }
}

export function hasInput(tx: Tx, session_id: string): boolean {
  return (
    tx.get(
      `SELECT 1 FROM mail WHERE to_id = :session_id AND read_at IS NULL AND delivered_turn IS NULL
       UNION ALL
       SELECT 1 FROM notifications WHERE parent_id = :session_id AND delivered_at IS NULL AND delivered_turn IS NULL LIMIT 1`,
      { session_id },
    ) !== null
  );
}

/** The agent asks for its mail in the middle of a turn: what waits is reserved for that turn (settled with it). */
export async function claimNow(store: Store, session_id: string): Promise<Claimed & { turn: number | null }> {
  return store.write((tx) => {
    const turn = currentTurn(tx, session_id);
    return turn === null ? { mails: [], notifications: [], turn } : { ...claimInput(tx, session_id, turn), turn };
  });
}
