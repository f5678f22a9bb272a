import type { MailRow, MailType } from '../model/mail.ts';
import { sqlList } from './sql-list.ts';
import type { Store } from './store.ts';

/** Mail that waits for a decision of whoever gets it (E-139). */
const APPROVALS: readonly MailType[] = ['question', 'conflict', 'decision_gate', 'escalation'];

export interface Approvals {
  counts: { to_id: string | null; to_name: string; unread: number }[];
  /** Oldest first; at most `limit`. */
  queue: MailRow[];
}

/** Decisions that nobody has read about yet: how many per recipient, and which (E-139). `to_id`: of this session alone. */
export async function unreadApprovals(
  store: Store,
  { to_id, limit }: { to_id?: string; limit: number },
): Promise<Approvals> {
  const own = to_id === undefined ? '' : 'AND to_id = :to_id';
  const where = `read_at IS NULL AND type IN (${sqlList(APPROVALS)}) ${own}`;
  const params = to_id === undefined ? {} : { to_id };
  return store.read((tx) => ({
    counts: tx.all<Approvals['counts'][number]>(
      `SELECT to_id, to_name, count(*) AS unread FROM mail WHERE ${where} GROUP BY to_id, to_name ORDER BY min(seq)`,
      params,
    ),
    queue: tx.all<MailRow>(`SELECT * FROM mail WHERE ${where} ORDER BY seq LIMIT :limit`, { ...params, limit }),
  }));
}
