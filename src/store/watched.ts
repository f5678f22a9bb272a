import type { EventRow } from '../model/event.ts';
import type { SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import { newestEvents } from './event-batch.ts';
import { hasOpenQuestion } from './rest.ts';
import type { Store } from './store.ts';

/** What the row of a turn in flight tells by itself: enough to see that nearly all of them are well. */
export interface Glance
  extends Pick<
    TurnRow,
    | 'session_id'
    | 'turn'
    | 'started_at'
    | 'first_event_at'
    | 'last_event_at'
    | 'result_at'
    | 'tools_open'
    | 'events'
    | 'output_tokens'
    | 'end_cause'
    | 'gating_since'
  > {
  is_limited: number;
}

/** Every turn in flight. Of one table alone: sessions are four times as dear to read, and are asked for once per turn. */
export async function glances(store: Store): Promise<Glance[]> {
  return store.read((tx) =>
    tx.all<Glance>(
      `SELECT session_id, turn, started_at, first_event_at, last_event_at, result_at, tools_open, events, output_tokens,
              end_cause, gating_since, limit_json IS NOT NULL AS is_limited
       FROM turns WHERE ended_at IS NULL`,
    ),
  );
}

/** Where a session stands on the watchdog's ladder. */
export type Rung = Pick<SessionRow, 'escalation_level' | 'escalated_at' | 'escalation_cause'>;

/** What does not change while a turn lasts, and where its session stood when it was seen first. */
export interface Watched extends Pick<SessionRow, 'name' | 'role' | 'harness' | 'repo_root' | 'timeout_ms'>, Rung {}

export async function watchedSessions(store: Store, ids: readonly string[]): Promise<Map<string, Watched>> {
  return store.read((tx) => {
    const found = new Map<string, Watched>();
    for (const id of ids) {
      const row = tx.get<Watched>(
        `SELECT name, role, harness, repo_root, timeout_ms, escalation_level, escalated_at, escalation_cause
         FROM sessions WHERE id = :id`,
        { id },
      );
      if (row !== null) found.set(id, row);
    }
    return found;
  });
}

/** What costs a look of its own. */
export interface CloseRow
  extends Rung,
    Pick<SessionRow, 'state' | 'native_session_id' | 'working_dir' | 'output_tokens'> {
  turn: TurnRow;
  /** The newest event of the sessions it started that still live. */
  child_event_at: number | null;
  awaits_answer: boolean;
}

/** `null`: the turn is over. */
export async function closeRow(store: Store, key: { session_id: string; turn: number }): Promise<CloseRow | null> {
  const { session_id } = key;
  return store.read((tx) => {
    const turn = tx.get<TurnRow>(
      'SELECT * FROM turns WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL',
      { session_id, turn: key.turn },
    );
    const session = tx.get<Omit<CloseRow, 'turn' | 'child_event_at' | 'awaits_answer'>>(
      `SELECT state, native_session_id, working_dir, output_tokens, escalation_level, escalated_at, escalation_cause
       FROM sessions WHERE id = :session_id`,
      { session_id },
    );
    if (turn === null || session === null) return null;
    const child = tx.get<{ at: number | null }>(
      'SELECT max(last_activity_at) AS at FROM sessions WHERE parent_id = :session_id AND ended_at IS NULL',
      { session_id },
    );
    return { ...session, turn, child_event_at: child?.at ?? null, awaits_answer: hasOpenQuestion(tx, session_id) };
  });
}

/** Events that are looked through for tool calls. */
const SCANNED = 400;

/** The newest tool events of one turn, oldest first. */
export async function recentToolEvents(
  store: Store,
  key: { session_id: string; turn: number },
  limit: number,
): Promise<EventRow[]> {
  const rows = await store.read((tx) => newestEvents(tx, key.session_id, SCANNED));
  return rows
    .filter((row) => row.turn === key.turn && isOfTool(row))
    .slice(0, limit)
    .reverse();
}

export function isOfTool({ type }: Pick<EventRow, 'type'>): boolean {
  return type === 'tool_use' || type === 'tool_result';
}

/** What a tool event says, whatever the id of its call: of long texts the head. Equal texts are equal as far as rows tell. */
export function toolPart({ type, data_json }: Pick<EventRow, 'type' | 'data_json'>): string {
  const { tool, input, is_error, output } = JSON.parse(data_json) as Record<string, unknown>;
  return JSON.stringify(type === 'tool_use' ? [tool, input] : [is_error, output]);
}

/** Characters of text among the newest events that came after event `seq`; of a long text only its head counts. */
export async function textAfter(store: Store, key: { session_id: string; turn: number; seq: number }): Promise<number> {
  const rows = await store.read((tx) => newestEvents(tx, key.session_id, SCANNED));
  return rows
    .filter(({ turn, type, seq }) => turn === key.turn && type === 'text' && seq > key.seq)
    .reduce((sum, { data_json }) => sum + ((JSON.parse(data_json) as { text?: string }).text?.length ?? 0), 0);
}

/** Does anything live? Nothing has to be watched, nor anybody restarted, while nothing does. */
export async function hasLiveSessions(store: Store): Promise<boolean> {
  return store.read((tx) => tx.get('SELECT 1 FROM sessions WHERE ended_at IS NULL LIMIT 1') !== null);
}
