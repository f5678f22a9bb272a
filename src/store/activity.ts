import { checkoutPath, type Workplace } from '../model/checkout-path.ts';
import type { Touch } from '../model/conflict.ts';
import type { HarnessEvent } from '../model/harness.ts';
import type { ActivitySource, FileAction, FileActivityRow } from '../model/incident.ts';
import type { Store, Tx } from './store.ts';

/** Rows that one session may have before those that a newer one of the same file makes superfluous are removed. */
const KEPT_ROWS = 4_096;

// A tool's id names its call within one turn: some harnesses count from one again in the next.
const INTO = `INSERT OR IGNORE INTO file_activity (session_id, turn, repo_root, source, path, action, event_id, at)`;

/** `tool_use` events that name files, and answers that say that a call has failed. */
export type FileCall = Extract<HarnessEvent, { type: 'tool_use' | 'tool_result' }>;

/** Whether a call or an answer says anything of files: asked of every event, so it asks little. */
export function isFileCall(event: HarnessEvent): event is FileCall {
  return event.type === 'tool_use' ? event.files.length > 0 : event.type === 'tool_result' && event.is_error;
}

/**
 * Records what calls of tools say they do to files (E-142), in the transaction that stores the calls. A call that failed did
 * nothing: its answer takes its rows away. Paths outside of the session's checkout are left out.
 */
export function recordCalls(
  tx: Tx,
  of: { session_id: string; turn: number; at: number },
  calls: readonly FileCall[],
): void {
  const place = workplaceOf(tx, of.session_id);
  if (place === null) return;
  const failed = new Set<string>();
  const rows: { path: string; action: FileAction; event_id: string | null }[] = [];
  for (const call of calls) {
    const event_id = call.tool_id === null ? null : `${of.turn}:${call.tool_id}`;
    if (call.type === 'tool_result') {
      if (event_id !== null) failed.add(event_id);
      continue;
    }
    for (const { path: named, action } of call.files) {
      const path = checkoutPath(place, named);
      if (path !== null) rows.push({ path, action, event_id });
    }
  }
  for (const event_id of failed) {
    tx.run('DELETE FROM file_activity WHERE session_id = :session_id AND event_id = :event_id', {
      session_id: of.session_id,
      event_id,
    });
  }
  const values = rows
    .filter(({ event_id }) => event_id === null || !failed.has(event_id))
    .flatMap(({ path, action, event_id }) => [path, action, event_id, of.at]);
  tx.insert(INTO, [of.session_id, of.turn, place.repo_root, 'tool' satisfies ActivitySource], 4, values);
}

export function workplaceOf(tx: Tx, session_id: string): Workplace | null {
  return tx.get<Workplace>('SELECT repo_root, working_dir, worktree_path FROM sessions WHERE id = :session_id', {
    session_id,
  });
}

/**
 * Records what git finds changed at the end of a turn and no tool has told: a file that the turn already has a write of is
 * left out, and so is the deletion of one that was deleted before. Then the session's superfluous rows go.
 */
export async function recordTurnChanges(
  store: Store,
  of: { session_id: string; turn: number; repo_root: string },
  changes: readonly Pick<Touch, 'path' | 'action' | 'at'>[],
): Promise<void> {
  const isFull = await store.read((tx) => isOverfull(tx, of.session_id));
  if (changes.length === 0 && !isFull) return;
  await store.write((tx) => {
    const fresh = changes.filter((change) => isNews(tx, of, change));
    const values = fresh.flatMap(({ path, action, at }) => [path, action, null, at]);
    tx.insert(INTO, [of.session_id, of.turn, of.repo_root, 'git' satisfies ActivitySource], 4, values);
    if (isOverfull(tx, of.session_id)) trim(tx, of.session_id);
  });
}

function isNews(
  tx: Tx,
  of: { session_id: string; turn: number; repo_root: string },
  { path, action }: Pick<Touch, 'path' | 'action'>,
): boolean {
  const last = tx.get<Pick<FileActivityRow, 'turn' | 'action'>>(
    `SELECT turn, action FROM file_activity
     WHERE repo_root = :repo_root AND path = :path AND session_id = :session_id AND action <> 'read' ORDER BY seq DESC LIMIT 1`,
    { session_id: of.session_id, repo_root: of.repo_root, path },
  );
  return last === null || (last.turn !== of.turn && !(action === 'delete' && last.action === 'delete'));
}

function isOverfull(tx: Tx, session_id: string): boolean {
  const beyond = `SELECT 1 FROM file_activity WHERE session_id = :session_id ORDER BY seq LIMIT 1 OFFSET ${KEPT_ROWS}`;
  return tx.get(beyond, { session_id }) !== null;
}

/** Of every file the newest read and the newest write stay; an import's rows do, too: their ids tell what was imported. */
function trim(tx: Tx, session_id: string): void {
  tx.run(
    `DELETE FROM file_activity WHERE session_id = :session_id AND source <> 'import' AND seq NOT IN (
       SELECT max(seq) FROM file_activity WHERE session_id = :session_id GROUP BY path, action = 'read')`,
    { session_id },
  );
}

/** The newest `limit` things a session did to files, newest last. */
export async function listActivity(
  store: Store,
  { session_id, limit }: { session_id: string; limit: number },
): Promise<FileActivityRow[]> {
  const rows = await store.read((tx) =>
    tx.all<FileActivityRow>(
      'SELECT * FROM file_activity WHERE session_id = :session_id ORDER BY seq DESC LIMIT :limit',
      {
        session_id,
        limit,
      },
    ),
  );
  return rows.reverse();
}

/** New writes in the order they were recorded, and how far the log was read. */
export interface News {
  writes: Touch[];
  seq: number;
}

const WRITE = 'session_id, repo_root, path, action, at';
/** Newest writes of one session that count when nobody remembers how far the log was read (E-128). */
const RECENT_WRITES = 64;

/**
 * The writes that came after row `after`, at most `limit`; null when nothing came. `after` null: the newest writes of every
 * session that lives, for who has just begun to look. Without news it is one look at the end of the log.
 */
export async function writesAfter(store: Store, after: number | null, limit: number): Promise<News | null> {
  return store.read((tx) => {
    const end = tx.get<{ seq: number | null }>('SELECT max(seq) AS seq FROM file_activity')?.seq ?? 0;
    if (after === null) return { writes: recentWrites(tx), seq: end };
    if (end <= after) return null;
    const rows = tx.all<Touch & { seq: number }>(
      `SELECT seq, ${WRITE} FROM file_activity WHERE seq > :after AND action <> 'read' ORDER BY seq LIMIT :limit`,
      { after, limit },
    );
    const writes = rows.map(({ seq: _seq, ...write }) => write);
    return { writes, seq: rows.length < limit ? end : (rows.at(-1)?.seq ?? end) };
  });
}

function recentWrites(tx: Tx): Touch[] {
  const live = tx.all<{ id: string }>('SELECT id FROM sessions WHERE ended_at IS NULL');
  return live.flatMap(({ id }) =>
    tx.all<Touch>(
      `SELECT ${WRITE} FROM file_activity WHERE session_id = :id AND action <> 'read' ORDER BY seq DESC LIMIT ${RECENT_WRITES}`,
      { id },
    ),
  );
}

/** The newest writes of one path by the two sessions of an incident, newest last. */
export async function writesOf(
  store: Store,
  of: { repo_root: string; path: string; first_session_id: string; second_session_id: string; limit: number },
): Promise<FileActivityRow[]> {
  const { repo_root, path, first_session_id: first, second_session_id: second, limit } = of;
  const rows = await store.read((tx) =>
    tx.all<FileActivityRow>(
      `SELECT * FROM file_activity WHERE repo_root = :repo_root AND path = :path AND session_id IN (:first, :second)
         AND action <> 'read' ORDER BY at DESC, seq DESC LIMIT :limit`,
      { repo_root, path, first, second, limit },
    ),
  );
  return rows.reverse();
}
