import { type MailRow, OPERATOR } from '../model/mail.ts';
import { age, clip, instantText, paint, safe, table } from './output.ts';

/** Where a mail is on its way. A session reads only by its turns, the operator by `drover mail read`. */
export function mailState(row: MailRow): string {
  if (row.read_at !== null) return 'read';
  if (row.to_id === null) return 'unread';
  return row.delivered_turn === null ? 'waiting' : `in turn ${row.delivered_turn}`;
}

/** `mail-… to NAME (status, normal)` */
export function sentLine(row: MailRow): string {
  return `${row.id}  to ${paint('bold', safe(row.to_name))} (${row.type}, ${row.priority})`;
}

/** `label` says whose mail this is and which part of it (O-76). */
export function renderList(label: string, rows: readonly MailRow[], now: number): string {
  if (rows.length === 0) return `${label}: nothing`;
  const header = ['ID', 'FROM', 'TO', 'TYPE', 'PRIORITY', 'AGE', 'STATE', 'SUBJECT'].map((cell) => paint('dim', cell));
  const lines = rows.map((row) => [
    row.id,
    clip(row.from_name, 30),
    clip(row.to_name, 30),
    row.type,
    row.priority === 'critical' || row.priority === 'high' ? paint('yellow', row.priority) : row.priority,
    age(now - row.created_at),
    row.read_at === null ? paint('bold', mailState(row)) : mailState(row),
    clip(row.subject || row.body, 70),
  ]);
  return `${label}: ${rows.length}\n${table([header, ...lines])}`;
}

/** One mail whole, for people. */
export function renderMail(row: MailRow): string {
  const fields = [
    ['From', row.from_name],
    ['To', row.to_name],
    ['Subject', row.subject],
    ['Type', `${row.type}, ${row.priority}`],
    ['Sent', instantText(row.created_at)],
    ['State', mailState(row)],
    ['Id', row.id],
    ...(row.reply_to === null ? [] : [['Answers', row.reply_to]]),
  ];
  const head = fields.map(
    ([name = '', value = '']) => `${paint('dim', `${name}:`.padEnd(9))}${safe(value).replace(/\n/g, ' ')}`,
  );
  const payload = row.payload_json === null ? [] : ['', `${paint('dim', 'Payload:')} ${safe(row.payload_json)}`];
  const answer =
    row.to_name === OPERATOR && row.from_id !== null
      ? ['', paint('dim', `Answer: drover mail reply ${row.id} --body "…"`)]
      : [];
  return [...head, '', safe(row.body), ...payload, ...answer].join('\n');
}
