import { BUDGET_SCOPES } from '../model/budget.ts';
import { DISPATCH_KINDS, DISPATCH_STATES } from '../model/dispatch.ts';
import { HALTED_KINDS } from '../model/halt.ts';
import { PRIORITIES } from '../model/mail.ts';
import { ENDED_PLAN_STATES, PLAN_STATES, STOP_CAUSES } from '../model/plan.ts';
import { ENDED_STEP_STATES, STEP_STATES } from '../model/plan-step.ts';
import { CATCH_UPS, OVERLAPS, SCHEDULE_RUN_STATES } from '../model/schedule.ts';
import { sqlList } from './sql-list.ts';

const PLAN_TABLES = `
CREATE TABLE plans (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  run_id TEXT NOT NULL UNIQUE,
  repo_root TEXT NOT NULL,
  working_dir TEXT NOT NULL,
  file TEXT,
  schedule_id TEXT,
  settings_json TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN (${sqlList(PLAN_STATES)})),
  reason TEXT,
  stopping TEXT CHECK (stopping IS NULL OR stopping IN (${sqlList(STOP_CAUSES)})),
  is_window_open INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  ended_at INTEGER,
  reported_at INTEGER,
  CHECK ((state IN (${sqlList(ENDED_PLAN_STATES)})) = (ended_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX open_plans ON plans(created_at) WHERE ended_at IS NULL;
CREATE INDEX plans_by_schedule ON plans(schedule_id) WHERE schedule_id IS NOT NULL;
CREATE TABLE plan_steps (
  plan_id TEXT NOT NULL REFERENCES plans(id),
  step_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  child_no INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind = 'task' OR kind = 'group'),
  group_id TEXT,
  spec_json TEXT NOT NULL,
  pool TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN (${sqlList(STEP_STATES)})),
  outcome TEXT,
  reason TEXT,
  round INTEGER NOT NULL DEFAULT 1,
  not_before_at INTEGER,
  session_id TEXT,
  outputs_json TEXT,
  dropped INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER,
  ended_at INTEGER,
  PRIMARY KEY (plan_id, step_id),
  CHECK ((state IN (${sqlList(ENDED_STEP_STATES)})) = (ended_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX plan_steps_in_order ON plan_steps(plan_id, position, child_no);
CREATE TABLE step_sessions (
  plan_id TEXT NOT NULL,
  step_id TEXT NOT NULL,
  round INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  session_id TEXT NOT NULL UNIQUE REFERENCES sessions(id),
  diff_lines INTEGER,
  archived_at INTEGER,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (plan_id, step_id, round, slot),
  FOREIGN KEY (plan_id, step_id) REFERENCES plan_steps(plan_id, step_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE plan_log (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  plan_id TEXT NOT NULL,
  step_id TEXT,
  event TEXT NOT NULL,
  outcome TEXT,
  detail TEXT,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX plan_log_by_plan ON plan_log(plan_id, seq);
`;

const SCHEDULE_TABLES = `
CREATE TABLE schedules (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  cron TEXT NOT NULL,
  timezone TEXT NOT NULL,
  task TEXT,
  plan_file TEXT,
  harness TEXT,
  profile_name TEXT,
  role TEXT,
  worktree INTEGER,
  repo_root TEXT NOT NULL,
  working_dir TEXT NOT NULL,
  project TEXT NOT NULL,
  task_group TEXT NOT NULL,
  overlap TEXT NOT NULL CHECK (overlap IN (${sqlList(OVERLAPS)})),
  catch_up TEXT NOT NULL CHECK (catch_up IN (${sqlList(CATCH_UPS)})),
  catch_up_max INTEGER NOT NULL,
  next_run_at INTEGER,
  last_run_at INTEGER,
  last_error TEXT,
  fail_count INTEGER NOT NULL DEFAULT 0,
  backoff_until_at INTEGER,
  is_enabled INTEGER NOT NULL DEFAULT 1,
  disabled_reason TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  CHECK ((task IS NULL) <> (plan_file IS NULL)),
  CHECK ((is_enabled = 1) = (disabled_reason IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX due_schedules ON schedules(next_run_at) WHERE is_enabled = 1 AND next_run_at IS NOT NULL;
CREATE TABLE schedule_runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  schedule_id TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  until_at INTEGER NOT NULL,
  times INTEGER,
  state TEXT NOT NULL CHECK (state IN (${sqlList(SCHEDULE_RUN_STATES)})),
  reason TEXT,
  session_id TEXT,
  plan_id TEXT,
  at INTEGER NOT NULL,
  UNIQUE (schedule_id, due_at),
  CHECK (session_id IS NULL OR plan_id IS NULL),
  CHECK ((state = 'fired') = (session_id IS NOT NULL OR plan_id IS NOT NULL))
) STRICT;
CREATE INDEX waiting_schedule_runs ON schedule_runs(schedule_id, due_at) WHERE state = 'waiting';
CREATE TABLE dispatch_requests (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN (${sqlList(DISPATCH_KINDS)})),
  target_session_id TEXT,
  task TEXT NOT NULL,
  target_url TEXT,
  priority TEXT NOT NULL CHECK (priority IN (${sqlList(PRIORITIES)})),
  harness TEXT,
  profile_name TEXT,
  worktree INTEGER,
  project TEXT NOT NULL,
  task_group TEXT NOT NULL,
  repo_root TEXT NOT NULL,
  working_dir TEXT NOT NULL,
  source TEXT NOT NULL,
  requester TEXT,
  state TEXT NOT NULL CHECK (state IN (${sqlList(DISPATCH_STATES)})),
  claimed_by TEXT,
  claimed_at INTEGER,
  result_action TEXT,
  result_session_id TEXT,
  error TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  CHECK ((state = 'dispatching') = (claimed_by IS NOT NULL)),
  CHECK ((state = 'failed') = (error IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX pending_dispatch ON dispatch_requests(created_at, id) WHERE state = 'pending' OR state = 'dispatching';
CREATE TABLE budgets (
  scope TEXT NOT NULL CHECK (scope IN (${sqlList(BUDGET_SCOPES)})),
  key TEXT NOT NULL,
  cost_micros INTEGER CHECK (cost_micros > 0),
  tokens INTEGER CHECK (tokens > 0),
  alerted_percent INTEGER NOT NULL DEFAULT 0,
  raised_count INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX turns_by_end ON turns(ended_at);
`;

/** Gates behind turns, and what money is a guess of ours. */
const GATE_TABLES = `
ALTER TABLE sessions ADD COLUMN gate_json TEXT;
ALTER TABLE sessions ADD COLUMN gate_round INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN gating_since INTEGER;
ALTER TABLE turns ADD COLUMN gates_cut INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN allowed_ms INTEGER;
ALTER TABLE turns ADD COLUMN is_cost_estimated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE worktrees ADD COLUMN kept_at INTEGER;
CREATE TABLE gate_runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL REFERENCES sessions(id),
  turn INTEGER NOT NULL,
  round INTEGER NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict = 'green' OR verdict = 'red'),
  command TEXT,
  reason TEXT,
  output TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  UNIQUE (session_id, turn)
) STRICT;
`;

/** A schedule fills the plain holes of its plan. */
export const SCHEDULE_VARIABLES = 'ALTER TABLE schedules ADD COLUMN variables_json TEXT;';

const QUOTA_TABLES = `
CREATE TABLE pool_quotas (
  pool TEXT NOT NULL,
  kind TEXT NOT NULL,
  share_left REAL NOT NULL,
  resets_at INTEGER,
  told_at INTEGER NOT NULL,
  PRIMARY KEY (pool, kind)
) STRICT, WITHOUT ROWID;
`;

/** At most one halt stands; `halted` is what it took, and empty while none does. */
const HALT_TABLES = `
CREATE TABLE halts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  halted_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  lifted_at INTEGER,
  lifted_by TEXT,
  CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
) STRICT;
CREATE UNIQUE INDEX one_halt ON halts(lifted_at IS NULL) WHERE lifted_at IS NULL;
CREATE INDEX halts_by_end ON halts(lifted_at);
CREATE TABLE halted (
  kind TEXT NOT NULL CHECK (kind IN (${sqlList(HALTED_KINDS)})),
  id TEXT NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
`;

/** Plans, schedules, requests, budgets, gates behind turns, what providers say of their quotas, halts. One migration. */
export const PLANS = PLAN_TABLES + SCHEDULE_TABLES + GATE_TABLES + QUOTA_TABLES + HALT_TABLES;
