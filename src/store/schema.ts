import { MAIL_TYPES, PRIORITIES } from '../model/mail.ts';
import { POOL_STATES } from '../model/pool.ts';
import { PARKED_REASONS, SESSION_STATES, TERMINAL_STATES } from '../model/session.ts';
import { END_CAUSES, OUTCOMES } from '../model/turn.ts';
import { HEALTHS, WATCH_ACTS } from '../model/verdict.ts';
import { EVENT_BATCHES } from './schema-events.ts';
import { LINES } from './schema-lines.ts';
import { PLANS, SCHEDULE_VARIABLES } from './schema-plan.ts';
import { sqlList } from './sql-list.ts';
import type { SCHEMA } from './version.ts';

const SESSIONS = `
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  harness TEXT NOT NULL,
  task TEXT NOT NULL,
  project TEXT NOT NULL,
  task_group TEXT NOT NULL,
  profile_name TEXT,
  profile_json TEXT,
  model TEXT,
  repo_root TEXT NOT NULL,
  working_dir TEXT NOT NULL,
  worktree_path TEXT,
  branch TEXT,
  base_ref TEXT,
  base_commit TEXT,
  state TEXT NOT NULL CHECK (state IN (${sqlList(SESSION_STATES)})),
  end_reason TEXT,
  parked_reason TEXT CHECK (parked_reason IS NULL OR parked_reason IN (${sqlList(PARKED_REASONS)})),
  parked_evidence TEXT,
  resume_at INTEGER,
  parent_id TEXT REFERENCES sessions(id),
  depth INTEGER NOT NULL DEFAULT 0,
  run_id TEXT,
  recovered_from TEXT,
  native_session_id TEXT,
  turn INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0,
  resume_count INTEGER NOT NULL DEFAULT 0,
  death_no INTEGER NOT NULL DEFAULT 0,
  is_reminded INTEGER NOT NULL DEFAULT 0,
  contract_met_at INTEGER,
  next_turn_at INTEGER,
  interrupt_reason TEXT,
  max_turns INTEGER,
  timeout_ms INTEGER,
  token_hash TEXT,
  prompt_version TEXT,
  escalation_level INTEGER NOT NULL DEFAULT 0,
  stalled_since INTEGER,
  result_text TEXT,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  cache_read_tokens INTEGER NOT NULL DEFAULT 0,
  cache_write_tokens INTEGER NOT NULL DEFAULT 0,
  reasoning_tokens INTEGER NOT NULL DEFAULT 0,
  cost_micros INTEGER,
  tool_calls INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  last_activity_at INTEGER,
  ended_at INTEGER,
  CHECK ((state IN (${sqlList(TERMINAL_STATES)})) = (ended_at IS NOT NULL)),
  CHECK ((state = 'parked') = (parked_reason IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX one_live_session_per_name ON sessions(name) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_name ON sessions(name);
CREATE INDEX live_sessions ON sessions(state, created_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_with_next_turn ON sessions(next_turn_at) WHERE next_turn_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX sessions_to_release ON sessions(resume_at) WHERE resume_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX sessions_by_repo ON sessions(repo_root, updated_at);
CREATE INDEX sessions_by_update ON sessions(updated_at);
CREATE INDEX sessions_by_creation ON sessions(created_at DESC, id);
CREATE INDEX sessions_of_repo_by_creation ON sessions(repo_root, created_at DESC, id);
CREATE INDEX sessions_by_parent ON sessions(parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX sessions_by_run ON sessions(run_id) WHERE run_id IS NOT NULL;
CREATE INDEX sessions_by_token ON sessions(token_hash) WHERE token_hash IS NOT NULL;
`;

const TURNS = `
CREATE TABLE turns (
  session_id TEXT NOT NULL REFERENCES sessions(id),
  turn INTEGER NOT NULL,
  marker TEXT NOT NULL,
  dir TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  pid INTEGER,
  pid_start_time TEXT,
  boot_id TEXT,
  end_cause TEXT CHECK (end_cause IS NULL OR end_cause IN (${sqlList(END_CAUSES)})),
  outcome TEXT CHECK (outcome IS NULL OR outcome IN (${sqlList(OUTCOMES)})),
  reason TEXT,
  exit_code INTEGER,
  exit_signal TEXT,
  stdout_offset INTEGER NOT NULL DEFAULT 0,
  lines INTEGER NOT NULL DEFAULT 0,
  malformed INTEGER NOT NULL DEFAULT 0,
  unknown INTEGER NOT NULL DEFAULT 0,
  events INTEGER NOT NULL DEFAULT 0,
  first_event_at INTEGER,
  last_event_at INTEGER,
  result_at INTEGER,
  result_ok INTEGER,
  result_reason TEXT,
  result_text TEXT,
  is_text_open INTEGER NOT NULL DEFAULT 0,
  model_turns INTEGER NOT NULL DEFAULT 0,
  tools_open INTEGER NOT NULL DEFAULT 0,
  limit_json TEXT,
  tree_empty INTEGER,
  survivors INTEGER NOT NULL DEFAULT 0,
  native_session_before TEXT,
  native_session_after TEXT,
  terminal_mail INTEGER NOT NULL DEFAULT 0,
  handoffs INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  cache_read_tokens INTEGER NOT NULL DEFAULT 0,
  cache_write_tokens INTEGER NOT NULL DEFAULT 0,
  reasoning_tokens INTEGER NOT NULL DEFAULT 0,
  cost_micros INTEGER,
  thread_json TEXT,
  PRIMARY KEY (session_id, turn),
  CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_turn_in_flight ON turns(session_id) WHERE ended_at IS NULL;
CREATE INDEX turns_to_end ON turns(session_id) WHERE ended_at IS NULL AND end_cause IS NOT NULL;
`;

const MAIL = `
CREATE TABLE mail (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  from_name TEXT NOT NULL,
  from_id TEXT,
  to_name TEXT NOT NULL,
  to_id TEXT,
  type TEXT NOT NULL CHECK (type IN (${sqlList(MAIL_TYPES)})),
  priority TEXT NOT NULL CHECK (priority IN (${sqlList(PRIORITIES)})),
  subject TEXT NOT NULL,
  body TEXT NOT NULL,
  payload_json TEXT,
  thread_id TEXT NOT NULL,
  reply_to TEXT,
  sent_in_turn INTEGER,
  created_at INTEGER NOT NULL,
  delivered_turn INTEGER,
  deliveries INTEGER NOT NULL DEFAULT 0,
  read_at INTEGER,
  CHECK (read_at IS NULL OR to_id IS NULL OR delivered_turn IS NOT NULL)
) STRICT;
`;

const MAIL_INDEXES = `
CREATE INDEX mail_by_session ON mail(to_id, seq) WHERE to_id IS NOT NULL;
CREATE INDEX unread_mail ON mail(to_id, seq) WHERE read_at IS NULL AND to_id IS NOT NULL;
CREATE INDEX waiting_mail ON mail(to_id, seq) WHERE to_id IS NOT NULL AND read_at IS NULL AND delivered_turn IS NULL;
CREATE INDEX mail_by_recipient ON mail(to_name, seq);
CREATE INDEX mail_by_sender ON mail(from_id, seq) WHERE from_id IS NOT NULL;
`;

const NOTIFICATIONS = `
CREATE TABLE notifications (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  parent_id TEXT NOT NULL,
  child_id TEXT NOT NULL,
  child_name TEXT NOT NULL,
  death_no INTEGER NOT NULL,
  is_failed INTEGER NOT NULL,
  body TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  delivered_turn INTEGER,
  delivered_at INTEGER,
  UNIQUE (child_id, death_no)
) STRICT;
CREATE INDEX notifications_by_parent ON notifications(parent_id, delivered_turn, seq);
`;

const AUDIT = `
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  turn INTEGER,
  type TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level = 'info' OR level = 'debug' OR level = 'warning' OR level = 'error'),
  line_offset INTEGER,
  data_json TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_session ON events(session_id);
CREATE TABLE state_log (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  from_state TEXT,
  to_state TEXT NOT NULL,
  event TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT,
  turn INTEGER NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX state_log_by_session ON state_log(session_id, seq);
CREATE TABLE runs (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('active','completed','failed')),
  started_at INTEGER NOT NULL,
  completed_at INTEGER,
  CHECK ((status = 'active') = (completed_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX one_active_run_per_name ON runs(name) WHERE status = 'active';
CREATE TABLE leases (
  name TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  fence INTEGER NOT NULL,
  taken_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

const POOLS = `
ALTER TABLE sessions ADD COLUMN pool TEXT NOT NULL DEFAULT '';
UPDATE sessions SET pool = harness WHERE pool = '';
ALTER TABLE sessions ADD COLUMN parked_pool TEXT;
CREATE INDEX sessions_by_pool ON sessions(pool, state);
CREATE TABLE pools (
  name TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN (${sqlList(POOL_STATES)})),
  reason TEXT,
  evidence TEXT,
  blocked_at INTEGER,
  opens_at INTEGER,
  retry_at INTEGER,
  strikes INTEGER NOT NULL DEFAULT 0,
  struck_at INTEGER,
  opened_at INTEGER,
  probe_id TEXT,
  updated_at INTEGER NOT NULL,
  CHECK ((state IN ('blocked','probing')) = (blocked_at IS NOT NULL)),
  CHECK ((state = 'probing') = (probe_id IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX pools_with_probe ON pools(probe_id) WHERE probe_id IS NOT NULL;
`;

const WATCH = `
ALTER TABLE sessions ADD COLUMN escalated_at INTEGER;
ALTER TABLE sessions ADD COLUMN escalation_cause TEXT;
ALTER TABLE sessions ADD COLUMN is_persistent INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET is_persistent = 1 WHERE role IN ('coordinator', 'monitor', 'orchestrator');
ALTER TABLE runs ADD COLUMN notified_at INTEGER;
CREATE INDEX live_sessions_by_run ON sessions(run_id) WHERE run_id IS NOT NULL AND ended_at IS NULL;
ALTER TABLE turns ADD COLUMN peak_memory_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN cpu_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN leftovers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN released_at INTEGER;
CREATE TABLE verdicts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  turn INTEGER NOT NULL,
  judged_by TEXT NOT NULL CHECK (judged_by IN ('supervisor','watchdog')),
  tier INTEGER NOT NULL,
  health TEXT NOT NULL CHECK (health IN (${sqlList(HEALTHS)})),
  cause TEXT,
  act TEXT NOT NULL CHECK (act IN (${sqlList(WATCH_ACTS)})),
  level INTEGER NOT NULL,
  evidence TEXT NOT NULL,
  facts_json TEXT NOT NULL,
  limits_json TEXT NOT NULL,
  triage_id TEXT,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX verdicts_by_session ON verdicts(session_id, seq);
CREATE INDEX questions ON verdicts(at) WHERE act = 'triage';
CREATE UNIQUE INDEX one_use_per_answer ON verdicts(triage_id) WHERE triage_id IS NOT NULL AND act <> 'triage';
CREATE TABLE ticks (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  took_ms INTEGER NOT NULL,
  watched INTEGER NOT NULL,
  report_json TEXT NOT NULL
) STRICT;
`;

/** The list of mail types has grown: a CHECK cannot be changed in place. */
const MAIL_AGAIN = `
ALTER TABLE mail RENAME TO mail_before;
${MAIL}
INSERT INTO mail SELECT * FROM mail_before;
DROP TABLE mail_before;
${MAIL_INDEXES}
`;

/** Append-only; the index of an entry plus one is the schema version it leads to, the last one's is `SCHEMA`. */
export const MIGRATIONS: readonly string[] = [
  SESSIONS + TURNS + MAIL + MAIL_INDEXES + NOTIFICATIONS + AUDIT,
  POOLS + WATCH,
  MAIL_AGAIN + LINES,
  EVENT_BATCHES,
  PLANS,
  SCHEDULE_VARIABLES,
] as const satisfies {
  length: typeof SCHEMA;
};
