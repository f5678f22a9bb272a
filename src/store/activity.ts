import { checkoutPath, type RealName, type Workplace } from '../model/checkout-path.ts';
import type { Touch } from '../model/conflict.ts';
import type { HarnessEvent } from '../model/harness.ts';
import type { ActivitySource, FileActivityRow, OpenCallRow } from '../model/incident.ts';
import type { SessionEvent } from '../model/session.ts';
import type { Store, Tx } from './store.ts';

/** Rows that one session may have before those that a newer one of the same file makes superfluous are removed. */
const KEPT_ROWS = 4_096;

// A tool's id names its call within one turn: some harnesses count from one again in the next.
const INTO = `INSERT OR IGNORE INTO file_activity (session_id, turn, repo_root, source, path, action, event_id, at)`;

/** `tool_use` events that name files, and answers that say which call they answer. */
export type FileCall = Extract<HarnessEvent, { type: 'tool_use' | 'tool_result' }>;

/** Whether a call or an answer may say anything of files: asked of every event, so it asks little. */
export function isFileCall(event: HarnessEvent): event is FileCall {
  return event.type === 'tool_use' ? event.files.length > 0 : event.type === 'tool_result' && event.tool_id !== null;
}

type OpenCall = Pick<OpenCallRow, 'path' | 'action' | 'event_id'>;
type Call = Omit<OpenCall, 'event_id'> & { event_id: string | null };

/**
 * Records what calls of tools do to files (E-142), in the transaction that stores the calls: once the answer is there, so
 * that nobody is held for a write that failed. A call whose answer nobody could recognize counts at once; one that is not
 * answered yet waits for its answer, or for the end of its turn. Paths outside of the session's checkout are left out.
 */
export function recordCalls(
  tx: Tx,
  of: { session_id: string; turn: number; at: number },
  calls: readonly FileCall[],
  real_name: RealName,
): void {
  const { uses, answers } = sorted(calls, of.turn);
  const place = uses.length > 0 ? workplaceOf(tx, of.session_id) : null;
  const named = uses.flatMap(({ path: given, ...rest }): Call[] => {
    const path = place === null ? null : checkoutPath(place, given, real_name);
    return path === null ? [] : [{ ...rest, path }];
  });
  const done: Call[] = [...answered(tx, of.session_id, answers), ...named.filter((call) => isDone(call, answers))];
  const waiting = named.filter(({ event_id }) => event_id !== null && !answers.has(event_id));
  tx.insert(
    'INSERT INTO open_calls (session_id, turn, at, path, action, event_id)',
    [of.session_id, of.turn, of.at],
    3,
    waiting.flatMap(({ path, action, event_id }) => [path, action, event_id]),
  );
  if (done.length > 0)
    recordTools(tx, { ...of, repo_root: (place ?? workplaceOf(tx, of.session_id))?.repo_root }, done);
}

/** What is to be done to which file, and whether an answer is an error, by the id of its call. */
function sorted(calls: readonly FileCall[], turn: number): { uses: Call[]; answers: Map<string, boolean> } {
  const uses: Call[] = [];
  const answers = new Map<string, boolean>();
  for (const call of calls) {
    const event_id = call.tool_id === null ? null : `${turn}:${call.tool_id}`;
    if (call.type === 'tool_use') uses.push(...call.files.map(({ path, action }) => ({ path, action, event_id })));
    else if (event_id !== null) answers.set(event_id, call.is_error);
  }
  return { uses, answers };
}

function isDone({ event_id }: Call, answers: ReadonlyMap<string, boolean>): boolean {
  return event_id === null || answers.get(event_id) === false;
}

/** Of the calls that waited those that have an answer now, without the failed ones; none of them waits any more. */
function answered(tx: Tx, session_id: string, answers: ReadonlyMap<string, boolean>): OpenCall[] {
  if (answers.size === 0) return [];
  const rows = tx.all<OpenCallRow>(
    `DELETE FROM open_calls WHERE session_id = :session_id AND event_id IN (SELECT value FROM json_each(:ids)) RETURNING *`,
    { session_id, ids: JSON.stringify([...answers.keys()]) },
  );
  return rows.sort((a, b) => a.seq - b.seq).filter((row) => isDone(row, answers));
}

function recordTools(
  tx: Tx,
  of: { session_id: string; turn: number; repo_root: string | undefined; at: number },
  done: readonly Call[],
): void {
  if (of.repo_root === undefined) return;
  const values = done.flatMap(({ path, action, event_id }) => [path, action, event_id, of.at]);
  tx.insert(INTO, [of.session_id, of.turn, of.repo_root, 'tool' satisfies ActivitySource], 4, values);
}

export function workplaceOf(tx: Tx, session_id: string): Workplace | null {
  return tx.get<Workplace>('SELECT repo_root, working_dir, worktree_path FROM sessions WHERE id = :session_id', {
    session_id,
  });
}

/**
 * Records at the end of a turn what its unanswered calls may have done, and what git finds changed and no tool has told: a
 * file that the turn already has a write of is left out, and so is the deletion of one that was deleted before. Then the
 * session's superfluous rows go.
 */
export async function recordTurnChanges(
  store: Store,
  of: { session_id: string; turn: number; repo_root: string },
  changes: readonly Pick<Touch, 'path' | 'action' | 'at'>[],
): Promise<void> {
  const isDue = await store.read((tx) => isOverfull(tx, of.session_id) || hasOpenCalls(tx, of.session_id));
  if (changes.length === 0 && !isDue) return;
  await store.write((tx) => {
    endCalls(tx, of);
    const fresh = changes.filter((change) => isNews(tx, of, change));
    const values = fresh.flatMap(({ path, action, at }) => [path, action, null, at]);
    tx.insert(INTO, [of.session_id, of.turn, of.repo_root, 'git' satisfies ActivitySource], 4, values);
    if (isOverfull(tx, of.session_id)) trim(tx, of.session_id);
  });
}

function hasOpenCalls(tx: Tx, session_id: string): boolean {
  return tx.get('SELECT 1 FROM open_calls WHERE session_id = :session_id LIMIT 1', { session_id }) !== null;
}

/** Nobody will answer them any more, and whether they came to anything nobody knows: they count from when they were made. */
function endCalls(tx: Tx, of: { session_id: string; turn: number; repo_root: string }): void {
  const { session_id, turn } = of;
  const rows = tx.all<OpenCallRow>(
    'DELETE FROM open_calls WHERE session_id = :session_id AND turn <= :turn RETURNING *',
    { session_id, turn },
  );
  for (const row of rows.sort((a, b) => a.seq - b.seq)) recordTools(tx, { ...of, turn: row.turn, at: row.at }, [row]);
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

/** How far the two logs were read that tell what there is to judge. */
interface LogEnds {
  activity: number;
  states: number;
}

/** New writes in the order they were recorded, and how far was read. */
export interface News {
  writes: Touch[];
  read: LogEnds;
}

const WRITE = 'session_id, repo_root, path, action, at';
/** Newest writes of one session that count when they are looked at anew (E-128). */
const RECENT_WRITES = 64;

/**
 * The writes that came after `after`, at most `limit`, and all paths of every session that was put back to work since:
 * while it was held or had ended they stood in nobody's way. `after` null: the newest writes of every session that lives, for
 * who has just begun to look. Without news it is one look at the end of each log.
 */
export async function writesAfter(store: Store, after: LogEnds | null, limit: number): Promise<News> {
  return store.read((tx) => {
    const end = { activity: lastOf(tx, 'file_activity'), states: lastOf(tx, 'state_log') };
    if (after === null) {
      const live = tx.all<{ id: string }>('SELECT id FROM sessions WHERE ended_at IS NULL');
      return { writes: recentWrites(tx, live), read: end };
    }
    const back = end.states <= after.states ? [] : putBackAfter(tx, after.states);
    if (end.activity <= after.activity) return { writes: knownWrites(tx, back), read: end };
    const rows = tx.all<Touch & { seq: number }>(
      `SELECT seq, ${WRITE} FROM file_activity WHERE seq > :after AND action <> 'read' ORDER BY seq LIMIT :limit`,
      { after: after.activity, limit },
    );
    const writes = rows.map(({ seq: _seq, ...write }) => write);
    const activity = rows.length < limit ? end.activity : (rows.at(-1)?.seq ?? end.activity);
    return { writes: [...knownWrites(tx, back), ...writes], read: { activity, states: end.states } };
  });
}

function lastOf(tx: Tx, log: 'file_activity' | 'state_log'): number {
  return tx.get<{ seq: number | null }>(`SELECT max(seq) AS seq FROM ${log}`)?.seq ?? 0;
}

function putBackAfter(tx: Tx, after: number): { id: string }[] {
  const event: SessionEvent = 'resume';
  return tx.all('SELECT DISTINCT session_id AS id FROM state_log WHERE seq > :after AND event = :event ORDER BY 1', {
    after,
    event,
  });
}

/** Of every path the newest write: however much it wrote, who goes on may be in somebody's way with any of it. */
function knownWrites(tx: Tx, sessions: readonly { id: string }[]): Touch[] {
  return sessions.flatMap(({ id }) =>
    tx.all<Touch>(
      `SELECT session_id, repo_root, path, action, max(at) AS at FROM file_activity
       WHERE session_id = :id AND action <> 'read' GROUP BY repo_root, path ORDER BY repo_root, path`,
      { id },
    ),
  );
}

function recentWrites(tx: Tx, sessions: readonly { id: string }[]): Touch[] {
  return sessions.flatMap(({ id }) =>
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
