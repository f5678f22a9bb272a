import { type MailRow, OPERATOR } from '../model/mail.ts';
import type { Store } from './store.ts';

export interface MailQuery {
  /** Recipient: a session id, or null for the operator. Absent: everybody. */
  to_id?: string | null;
  from_id?: string;
  unread?: boolean;
  limit?: number;
}

/** Newest last. */
export async function listMail(store: Store, query: MailQuery): Promise<MailRow[]> {
  const where: string[] = [];
  const params: Record<string, string | number> = { limit: query.limit ?? 200 };
  if (query.to_id === null) {
    where.push('to_id IS NULL AND to_name = :operator');
    params.operator = OPERATOR;
  } else if (query.to_id !== undefined) {
    where.push('to_id = :to_id');
    params.to_id = query.to_id;
  }
  if (query.from_id !== undefined) {
    where.push('from_id = :from_id');
    params.from_id = query.from_id;
  }
  if (query.unread) where.push('read_at IS NULL');
  const clause = where.length > 0 ? `WHERE ${where.join(' AND ')}` : '';
  return store.read((tx) =>
    tx.all<MailRow>(`SELECT * FROM (SELECT * FROM mail ${clause} ORDER BY seq DESC LIMIT :limit) ORDER BY seq`, params),
  );
}

/** By id or unique prefix; null when there is none or more than one. */
export async function findMail(store: Store, wanted: string): Promise<MailRow | null> {
  const from = wanted.startsWith('mail-') ? wanted : `mail-${wanted}`;
  const rows = await store.read((tx) =>
    tx.all<MailRow>('SELECT * FROM mail WHERE id >= :from AND id < :below ORDER BY id LIMIT 2', {
      from,
      below: `${from}~`,
    }),
  );
  return rows.length === 1 ? (rows[0] ?? null) : null;
}
