import { IN_FLIGHT_STATES, PREDECESSORS, type SessionState, TERMINAL_STATES } from '../model/session.ts';
import { sqlList } from './sql-list.ts';
import type { Store } from './store.ts';

/** A rule that rows can break (MODEL §5). Its query gives one row per breach: `id`, and in `detail` what is wrong. */
interface Invariant {
  id: string;
  /** What should be true. */
  rule: string;
  /** The way out; `<id>` stands for the first breach. */
  hint: string;
  sql: string;
}

export interface Breach {
  id: string;
  rule: string;
  hint: string;
  /** All rows that break it. */
  count: number;
  /** The first few of them. */
  rows: { id: string; detail: string }[];
}

const SHOWN = 5;
/** How long a turn that has to end, or mail of a turn that has just ended, may take before it counts as stuck. */
const SETTLE_MS = 10 * 60_000;

const IN_FLIGHT = sqlList(IN_FLIGHT_STATES);
const TERMINAL = sqlList(TERMINAL_STATES);

/** `'queued>booting', …`: every legal change of state, and the first one. */
const LEGAL_MOVES = sqlList([
  '>queued',
  ...Object.entries(PREDECESSORS).flatMap(([to, from]) => from.map((state: SessionState) => `${state}>${to}`)),
]);

const OPEN_TURN = 'EXISTS (SELECT 1 FROM turns AS t WHERE t.session_id = s.id AND t.ended_at IS NULL)';
const WAITING = `(EXISTS (SELECT 1 FROM mail WHERE to_id = s.id AND read_at IS NULL AND delivered_turn IS NULL)
  OR EXISTS (SELECT 1 FROM notifications WHERE parent_id = s.id AND delivered_at IS NULL AND delivered_turn IS NULL))`;

const STATES: Invariant[] = [
  {
    id: 'I1',
    rule: 'a state changes only along the table',
    hint: 'Somebody wrote to the database by other ways than drover. Look at it: drover show <id>',
    sql: `SELECT l.session_id AS id, 'from ' || coalesce(l.from_state, 'nothing') || ' to ' || l.to_state || ' by ' || l.event AS detail
      FROM state_log AS l WHERE coalesce(l.from_state, '') || '>' || l.to_state NOT IN (${LEGAL_MOVES})
      UNION ALL
      SELECT id, 'its log ends with ' || coalesce(last, 'nothing') || ', its row says ' || state FROM (
        SELECT s.id, s.state,
          (SELECT l.to_state FROM state_log AS l WHERE l.session_id = s.id ORDER BY l.seq DESC LIMIT 1) AS last FROM sessions AS s)
      WHERE last IS NOT state`,
  },
  {
    id: 'I2',
    rule: 'a session in flight has a turn in flight',
    hint: 'It waits for a process that does not exist. Put it back to work: drover stop <id>, then drover resume <id>',
    sql: `SELECT s.id, s.state || ' without an open turn' AS detail FROM sessions AS s
      WHERE s.ended_at IS NULL AND s.state IN (${IN_FLIGHT}) AND NOT ${OPEN_TURN}`,
  },
  {
    id: 'I3',
    rule: 'one turn in flight per session, the newest, and only while the session is in flight',
    hint: '`drover up` settles what can be settled; then look again. The session: drover show <id>',
    sql: `SELECT t.session_id AS id, count(*) || ' open turns' AS detail FROM turns AS t NOT INDEXED
      WHERE t.ended_at IS NULL GROUP BY t.session_id HAVING count(*) > 1
      UNION ALL
      SELECT s.id, 'turn ' || t.turn || ' is open while the session is ' || s.state FROM turns AS t JOIN sessions AS s ON s.id = t.session_id
      WHERE t.ended_at IS NULL AND s.state NOT IN (${IN_FLIGHT}) AND (t.end_cause IS NULL OR s.updated_at < :settled_by)
      UNION ALL
      SELECT s.id, 'turn ' || t.turn || ' is open, the session is at turn ' || s.turn FROM turns AS t JOIN sessions AS s ON s.id = t.session_id
      WHERE t.ended_at IS NULL AND t.turn <> s.turn
      UNION ALL
      SELECT s.id, 'turn ' || max(t.turn) || ' exists, the session is at turn ' || s.turn FROM turns AS t JOIN sessions AS s ON s.id = t.session_id
      WHERE t.ended_at IS NOT NULL GROUP BY s.id HAVING max(t.turn) > s.turn`,
  },
];

const MAIL: Invariant[] = [
  {
    id: 'I4',
    rule: 'mail is held only by a turn in flight',
    hint: 'Nobody will ever read it where it is. Tell the recipient again: drover mail send',
    sql: `SELECT m.id, 'for ' || m.to_name || ', held by turn ' || m.delivered_turn || CASE WHEN t.turn IS NULL THEN ', which does not exist' ELSE ', which has ended' END AS detail
      FROM mail AS m LEFT JOIN turns AS t ON t.session_id = m.to_id AND t.turn = m.delivered_turn
      WHERE m.read_at IS NULL AND m.to_id IS NOT NULL AND m.delivered_turn IS NOT NULL AND (t.turn IS NULL OR t.ended_at IS NOT NULL)
      UNION ALL
      SELECT n.child_id, 'the end of ' || n.child_name || ', held by turn ' || n.delivered_turn || ' of ' || n.parent_id AS detail
      FROM notifications AS n LEFT JOIN turns AS t ON t.session_id = n.parent_id AND t.turn = n.delivered_turn
      WHERE n.delivered_at IS NULL AND n.delivered_turn IS NOT NULL AND (t.turn IS NULL OR t.ended_at IS NOT NULL)`,
  },
  {
    id: 'I5',
    rule: 'mail counts as read only after a clean turn',
    hint: 'It was marked as read although its turn had no success; send it again if it matters: drover mail show <id>',
    sql: `SELECT m.id, 'read by turn ' || m.delivered_turn || ' of ' || m.to_name || ', which ' || coalesce('ended ' || t.outcome, 'has not ended') AS detail
      FROM mail AS m LEFT JOIN turns AS t ON t.session_id = m.to_id AND t.turn = m.delivered_turn
      WHERE m.read_at IS NOT NULL AND m.to_id IS NOT NULL AND (t.outcome IS NULL OR t.outcome NOT IN ('completed','handed_off','lost'))`,
  },
  {
    id: 'I15',
    rule: 'a death is told to the parent once',
    hint: 'The parent may have been told twice, or not at all: drover show <id>',
    sql: `SELECT s.id, 'has ended, and its parent was never told' AS detail
      FROM sessions AS s JOIN sessions AS p ON p.id = s.parent_id
      WHERE s.ended_at IS NOT NULL AND p.ended_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM notifications AS n WHERE n.child_id = s.id AND n.death_no = s.death_no)
      UNION ALL
      SELECT n.child_id, 'death ' || n.death_no || ' was told, but it died ' || coalesce(s.death_no, 0) || ' times'
      FROM notifications AS n LEFT JOIN sessions AS s ON s.id = n.child_id WHERE s.id IS NULL OR n.death_no > s.death_no
      UNION ALL
      SELECT m.from_id, count(*) || ' worker_died mails for ' || s.death_no || ' deaths' FROM mail AS m JOIN sessions AS s ON s.id = m.from_id
      WHERE m.type = 'worker_died' GROUP BY m.from_id HAVING count(*) > s.death_no`,
  },
];

const TOTALS = ['input_tokens', 'output_tokens', 'cache_read_tokens', 'cache_write_tokens', 'reasoning_tokens'];

const SUMS: Invariant[] = [
  {
    id: 'I18',
    rule: 'a session has used what its turns have used',
    hint: 'Tokens or cost were counted wrongly; the raw streams still have them: drover logs <id> --raw',
    sql: `SELECT s.id, 'the session says ' || s.input_tokens || ' in, ' || s.output_tokens || ' out, ' || coalesce(s.cost_micros, 0) || ' micros; its turns ' || u.input_tokens || ', ' || u.output_tokens || ', ' || u.cost AS detail
      FROM sessions AS s JOIN (SELECT session_id, ${TOTALS.map((column) => `total(${column}) AS ${column}`).join(', ')}, total(cost_micros) AS cost
        FROM turns GROUP BY session_id) AS u ON u.session_id = s.id
      WHERE ${TOTALS.map((column) => `s.${column} <> u.${column}`).join(' OR ')} OR coalesce(s.cost_micros, 0) <> u.cost`,
  },
];

const SLOTS: Invariant[] = [
  {
    id: 'I11',
    rule: 'a worktree has one slot, and its session knows of it',
    hint: 'Slots are counted wrongly. Look at them: drover worktree list --all',
    sql: `SELECT s.id, 'its worktree ' || s.worktree_path || ' has no slot' AS detail FROM sessions AS s
      WHERE s.worktree_path IS NOT NULL AND NOT EXISTS (SELECT 1 FROM worktrees AS w WHERE w.path = s.worktree_path)
      UNION ALL
      SELECT w.session_id, 'the slot of ' || w.path || ' says it has it, its row says ' || coalesce(s.worktree_path, 'no')
      FROM worktrees AS w LEFT JOIN sessions AS s ON s.id = w.session_id
      WHERE w.created_at IS NOT NULL AND w.removing_at IS NULL AND s.worktree_path IS NOT w.path`,
  },
];

const RESTS: Invariant[] = [
  {
    id: 'I19',
    rule: 'what has ended, or rests, holds nothing of a life',
    hint: 'A leftover of a life that is over: drover stop <id> ends it for good',
    sql: `SELECT s.id, s.state || ' with ' || CASE WHEN s.token_hash IS NOT NULL THEN 'a valid token'
          WHEN s.next_turn_at IS NOT NULL THEN 'a next turn' WHEN s.resume_at IS NOT NULL THEN 'a time to resume'
          WHEN s.parked_pool IS NOT NULL THEN 'a pool to wait for' ELSE 'a place on the ladder' END AS detail
      FROM sessions AS s
      WHERE (s.state NOT IN (${IN_FLIGHT}) AND s.token_hash IS NOT NULL)
        OR (s.state IN (${TERMINAL}) AND (s.next_turn_at IS NOT NULL OR s.stalled_since IS NOT NULL OR s.escalation_level <> 0))
        OR (s.state <> 'parked' AND (s.resume_at IS NOT NULL OR s.parked_pool IS NOT NULL))`,
  },
  {
    id: 'unseen',
    rule: 'nothing waits unseen',
    hint: 'Nothing will wake it by itself: drover resume <id> or drover nudge <id>',
    sql: `SELECT s.id, 'parked for ' || s.parked_reason || ' without a time or a pool that ends it' AS detail FROM sessions AS s
      WHERE s.ended_at IS NULL AND s.state = 'parked' AND s.parked_reason IN ('usage_limit','rate_limit')
        AND s.resume_at IS NULL AND s.parked_pool IS NULL
      UNION ALL
      SELECT s.id, 'parked for the pool ' || s.parked_pool || ', which nobody knows' FROM sessions AS s
      WHERE s.ended_at IS NULL AND s.parked_pool IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pools WHERE name = s.parked_pool)
      UNION ALL
      SELECT s.id, 'queued with nothing to read, so no turn starts' FROM sessions AS s
      WHERE s.ended_at IS NULL AND s.state = 'queued' AND NOT ${WAITING}
      UNION ALL
      SELECT m.id, 'mail for ' || m.to_id || ', a session that does not exist' FROM mail AS m
      WHERE m.to_id IS NOT NULL AND m.read_at IS NULL AND NOT EXISTS (SELECT 1 FROM sessions WHERE id = m.to_id)`,
  },
  {
    id: 'family',
    rule: 'no session is its own ancestor',
    hint: 'Its end would wait for itself: drover stop <id>',
    sql: `WITH RECURSIVE up(start, at, n) AS (
        SELECT id, parent_id, 1 FROM sessions WHERE parent_id IS NOT NULL
        UNION ALL
        SELECT up.start, s.parent_id, up.n + 1 FROM up JOIN sessions AS s ON s.id = up.at
        WHERE up.at <> up.start AND s.parent_id IS NOT NULL AND up.n < 64)
      SELECT start AS id, 'is its own ancestor' AS detail FROM up WHERE at = start`,
  },
];

/** Written by something else than drover, so that nothing can be made of it; a `CASE` because no JSON is read twice. */
const UNREADABLE = `CASE WHEN r.session_id = '' OR r.session_id GLOB '*[^a-z0-9-]*' THEN 'its id has characters that no id has'
  WHEN NOT json_valid(r.attach_precedence_json) THEN 'attach_precedence_json is no JSON'
  WHEN json_type(r.attach_precedence_json) <> 'array'
    OR EXISTS (SELECT 1 FROM json_each(r.attach_precedence_json) AS word WHERE word.type <> 'text') THEN 'attach_precedence_json is not a list of texts'
  WHEN r.probe_confidence NOT BETWEEN 0 AND 1 THEN 'probe_confidence is not between 0 and 1' END`;

const HELD: Invariant[] = [
  {
    id: 'I14',
    rule: 'whom an open incident holds does not go on',
    hint: 'Two sessions may change the same file. Hold it: drover pause <id>, then settle it: drover incident list --of <id>',
    sql: `SELECT s.id, s.state || ', although the incident ' || i.id || ' holds it' AS detail
      FROM incidents AS i JOIN sessions AS s ON s.id = i.paused_session_id
      WHERE i.resolved_at IS NULL AND s.ended_at IS NULL AND s.state <> 'parked'`,
  },
  {
    id: 'reservations',
    rule: 'what a session has reserved ends with it',
    hint: 'Nobody will end it by itself: drover release --session <id> --status abandoned, or of files drover release <id>',
    sql: `SELECT r.session_id AS id, 'active, while its session ' || r.owner_session_id || coalesce(' is ' || s.state, ' does not exist') AS detail
      FROM reservations AS r LEFT JOIN sessions AS s ON s.id = r.owner_session_id
      WHERE r.status = 'active' AND r.owner_session_id IS NOT NULL AND (s.id IS NULL OR s.ended_at IS NOT NULL)
      UNION ALL
      SELECT p.id, p.glob || ' is reserved, while its session ' || p.owner_session_id || coalesce(' is ' || s.state, ' does not exist') AS detail
      FROM path_reservations AS p LEFT JOIN sessions AS s ON s.id = p.owner_session_id
      WHERE p.released_at IS NULL AND p.owner_session_id IS NOT NULL AND (s.id IS NULL OR s.ended_at IS NOT NULL)`,
  },
  {
    id: 'records',
    rule: 'the record of a reservation can be read',
    hint: 'It stands in the way of its own thread alone. Take it away: drover reservations delete <id> --force',
    sql: `SELECT * FROM (SELECT r.session_id AS id, ${UNREADABLE} AS detail FROM reservations AS r) WHERE detail IS NOT NULL`,
  },
];

const INVARIANTS = [...STATES, ...MAIL, ...SUMS, ...SLOTS, ...RESTS, ...HELD];

/**
 * Every rule that rows of this database break, with the rows. It only reads, in one snapshot; 10,000 sessions take less
 * than a second.
 */
export async function brokenInvariants(store: Store, now: number): Promise<Breach[]> {
  return store.read((tx) =>
    INVARIANTS.flatMap(({ id, rule, hint, sql }) => {
      const rows = tx.all<{ id: string; detail: string }>(
        sql,
        sql.includes(':settled_by') ? { settled_by: now - SETTLE_MS } : {},
      );
      if (rows.length === 0) return [];
      const first = rows[0]?.id ?? '';
      return [{ id, rule, hint: hint.replaceAll('<id>', first), count: rows.length, rows: rows.slice(0, SHOWN) }];
    }),
  );
}

/** Pools that wait for a probe which will never answer. */
export async function orphanedPools(store: Store): Promise<{ name: string; probe_id: string }[]> {
  return store.read((tx) => tx.all(`SELECT name, probe_id FROM pools AS p WHERE ${PROBE_GONE} ORDER BY name`));
}

/** Its probe does not exist, or has ended and no turn of it is open any more. */
const PROBE_GONE = `p.state = 'probing' AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = p.probe_id
  AND (s.ended_at IS NULL OR ${OPEN_TURN}))`;

/** Takes the lost probe away, so that the pool's next session becomes one; false when somebody was first. */
export async function releaseProbe(store: Store, name: string, now: number): Promise<boolean> {
  return store.write(
    (tx) =>
      tx.run(
        `UPDATE pools AS p SET state = 'blocked', probe_id = NULL, updated_at = :now WHERE p.name = :name AND ${PROBE_GONE}`,
        { name, now },
      ) === 1,
  );
}
