import { ACTIVITY_SOURCES, CONFLICT_STRATEGIES, FILE_ACTIONS, INCIDENT_KINDS } from '../model/incident.ts';
import { MERGE_OUTCOMES } from '../model/merge.ts';
import { RESERVATION_STATUSES } from '../model/reservation.ts';
import { sqlList } from './sql-list.ts';

const WORKTREES = `
ALTER TABLE sessions ADD COLUMN base_branch TEXT;
ALTER TABLE sessions ADD COLUMN merged_commit TEXT;
ALTER TABLE sessions ADD COLUMN merged_at INTEGER;
CREATE TABLE worktrees (
  path TEXT PRIMARY KEY,
  session_id TEXT NOT NULL,
  repo_root TEXT NOT NULL,
  branch TEXT NOT NULL,
  base_commit TEXT NOT NULL,
  claimed_at INTEGER NOT NULL,
  created_at INTEGER,
  removing_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO worktrees SELECT worktree_path, id, repo_root, coalesce(branch, ''), coalesce(base_commit, base_ref, ''), created_at, created_at, NULL
  FROM sessions WHERE worktree_path IS NOT NULL ORDER BY created_at DESC ON CONFLICT DO NOTHING;
CREATE INDEX worktrees_by_repo ON worktrees(repo_root);
CREATE INDEX worktrees_by_session ON worktrees(session_id);
CREATE TABLE merges (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  repo_root TEXT NOT NULL,
  branch TEXT NOT NULL,
  target TEXT NOT NULL,
  head TEXT NOT NULL,
  base_head TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome TEXT CHECK (outcome IS NULL OR outcome IN (${sqlList(MERGE_OUTCOMES)})),
  merged_commit TEXT,
  reason TEXT,
  output TEXT,
  missing_json TEXT,
  CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT;
CREATE INDEX merges_by_session ON merges(session_id, seq);
CREATE UNIQUE INDEX one_merge_per_session ON merges(session_id) WHERE ended_at IS NULL;
`;

const RESERVATIONS = `
CREATE TABLE reservations (
  session_id TEXT PRIMARY KEY,
  repo_root TEXT NOT NULL,
  thread TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN (${sqlList(RESERVATION_STATUSES)})),
  started_at INTEGER NOT NULL,
  completed_at INTEGER,
  token_hash TEXT,
  pid INTEGER,
  pid_start_time TEXT,
  boot_id TEXT,
  liveness_path TEXT,
  heartbeat_at INTEGER,
  last_progress_at INTEGER,
  lease_ms INTEGER,
  anchor_commit TEXT,
  anchor_tree TEXT,
  base_short TEXT NOT NULL,
  path TEXT,
  client_instance_id TEXT,
  native_actor_key TEXT,
  native_parent_actor_key TEXT,
  native_instance_key TEXT,
  owner_session_id TEXT,
  provider TEXT,
  model TEXT,
  harness TEXT,
  thinking_level TEXT,
  input_tokens INTEGER,
  output_tokens INTEGER,
  reasoning_tokens INTEGER,
  tool_calls INTEGER,
  cost_micros INTEGER,
  report_flush_state TEXT,
  attach_reason TEXT,
  attach_precedence_json TEXT NOT NULL DEFAULT '[]',
  winning_attach_rule TEXT,
  probe_source TEXT,
  probe_confidence REAL,
  CHECK ((status = 'active') = (completed_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_active_per_thread ON reservations(repo_root, thread) WHERE status = 'active';
CREATE INDEX reservations_by_thread ON reservations(repo_root, thread, started_at);
CREATE INDEX reservations_by_owner ON reservations(owner_session_id) WHERE owner_session_id IS NOT NULL;
CREATE INDEX reservations_by_actor ON reservations(native_actor_key) WHERE native_actor_key IS NOT NULL;
CREATE INDEX ended_reservations ON reservations(coalesce(completed_at, started_at)) WHERE status <> 'active';
CREATE TABLE context_queries (
  session_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  path TEXT NOT NULL,
  scope TEXT,
  queried_at INTEGER NOT NULL,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE threads (
  repo_root TEXT NOT NULL,
  branch TEXT NOT NULL,
  target_branch TEXT,
  base_commit TEXT NOT NULL,
  base_tree TEXT NOT NULL,
  current_commit TEXT,
  merged_commit TEXT,
  task TEXT,
  execution_path TEXT NOT NULL,
  ready_at INTEGER,
  ready_commit TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (repo_root, branch)
) STRICT, WITHOUT ROWID;
CREATE TABLE path_reservations (
  id TEXT PRIMARY KEY,
  repo_root TEXT NOT NULL,
  glob TEXT NOT NULL,
  owner_session_id TEXT,
  owner_name TEXT NOT NULL,
  reason TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  released_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX open_path_reservations ON path_reservations(repo_root) WHERE released_at IS NULL;
CREATE INDEX path_reservations_by_owner ON path_reservations(owner_session_id) WHERE released_at IS NULL;
CREATE INDEX released_path_reservations ON path_reservations(released_at) WHERE released_at IS NOT NULL;
`;

const INCIDENTS = `
CREATE TABLE file_activity (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  turn INTEGER,
  repo_root TEXT NOT NULL,
  path TEXT NOT NULL,
  action TEXT NOT NULL CHECK (action IN (${sqlList(FILE_ACTIONS)})),
  source TEXT NOT NULL CHECK (source IN (${sqlList(ACTIVITY_SOURCES)})),
  event_id TEXT,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX file_activity_by_session ON file_activity(session_id, seq);
CREATE INDEX file_activity_by_path ON file_activity(repo_root, path, session_id) WHERE action <> 'read';
CREATE UNIQUE INDEX one_activity_per_event ON file_activity(session_id, event_id, path) WHERE event_id IS NOT NULL;
CREATE TABLE open_calls (
  seq INTEGER PRIMARY KEY,
  session_id TEXT NOT NULL,
  turn INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  path TEXT NOT NULL,
  action TEXT NOT NULL CHECK (action IN (${sqlList(FILE_ACTIONS)})),
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX open_calls_by_event ON open_calls(session_id, event_id);
CREATE TABLE incidents (
  id TEXT PRIMARY KEY,
  key TEXT NOT NULL,
  repo_root TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN (${sqlList(INCIDENT_KINDS)})),
  path TEXT NOT NULL,
  first_session_id TEXT NOT NULL,
  second_session_id TEXT NOT NULL,
  first_action TEXT,
  second_action TEXT,
  active_session_id TEXT,
  paused_session_id TEXT,
  strategy TEXT NOT NULL CHECK (strategy IN (${sqlList(CONFLICT_STRATEGIES)})),
  summary TEXT NOT NULL,
  prediction_json TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  resolved_at INTEGER,
  resolution TEXT,
  CHECK ((resolved_at IS NULL) = (resolution IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_open_incident_per_key ON incidents(repo_root, kind, key) WHERE resolved_at IS NULL;
CREATE INDEX incidents_by_key ON incidents(repo_root, kind, key);
CREATE INDEX open_incidents_by_paused ON incidents(paused_session_id) WHERE resolved_at IS NULL;
CREATE INDEX incidents_by_first ON incidents(first_session_id);
CREATE INDEX incidents_by_second ON incidents(second_session_id);
CREATE TABLE decisions (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  decision TEXT NOT NULL,
  alternatives_json TEXT NOT NULL,
  reasoning TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX decisions_by_session ON decisions(session_id, seq);
`;

/** Lines of work: worktrees, merges, reservations, incidents. Part of migration 3. */
export const LINES = WORKTREES + RESERVATIONS + INCIDENTS;
