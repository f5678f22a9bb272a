import { callerOf } from '../session/identity.ts';
import { unreadApprovals } from '../store/approvals.ts';
import { systemClock } from '../sys/clock.ts';
import type { Context } from './context.ts';
import { age, clip, paint, printJson, safe, table } from './output.ts';

const LIMIT = 200;

/** What waits for somebody's decision, unread (E-139): a person sees everybody's, a session its own. */
export async function listApprovals(context: Context): Promise<void> {
  const store = await context.reader();
  const caller = store === null ? null : await callerOf({ store, env: context.env });
  const id = caller?.session?.id;
  const found =
    store === null
      ? { counts: [], queue: [] }
      : await unreadApprovals(store, { limit: LIMIT, ...(id === undefined ? {} : { to_id: id }) });
  // A session gets the text of its mail with a turn, once.
  const queue = found.queue.map((row) => (id === undefined ? row : { ...row, body: '', payload_json: null }));
  if (context.globals.json) return printJson({ counts: found.counts, queue });
  if (queue.length === 0) return console.log('nothing waits for a decision');
  const now = systemClock.now();
  const header = ['ID', 'FOR', 'FROM', 'TYPE', 'AGE', 'SUBJECT'].map((cell) => paint('dim', cell));
  const lines = queue.map((row) => [
    row.id,
    paint('bold', clip(row.to_name, 30)),
    clip(row.from_name, 30),
    row.type,
    age(now - row.created_at),
    clip(row.subject || row.body, 70),
  ]);
  console.log(table([header, ...lines]));
  console.log(paint('dim', found.counts.map(({ to_name, unread }) => `${safe(to_name)}: ${unread}`).join(', ')));
}
