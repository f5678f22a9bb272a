import type { SessionRow } from './session.ts';

/** The four words of a reservation, the same everywhere (H-19, MODEL §3). */
export const RESERVATION_STATUSES = ['active', 'abandoned', 'complete', 'merged'] as const;
export type ReservationStatus = (typeof RESERVATION_STATUSES)[number];

/** Records that are not active any more are kept this long (H-27). */
export const RESERVATION_TTL_MS = 7 * 86_400_000;

/** One row of `reservations` (H-12…H-16), spelled like its columns. Times are wall milliseconds. */
export interface ReservationRow {
  /** Id of the reservation (H-04); of a session's own one the session's id. */
  session_id: string;
  repo_root: string;
  /** The named line of work: a branch. */
  thread: string;
  status: ReservationStatus;
  started_at: number;
  completed_at: number | null;
  /** SHA-256 of the token; the token itself is shown once and stored nowhere (CX-44). */
  token_hash: string | null;
  /** The owner's process; all three are null when nobody's life is known. */
  pid: number | null;
  pid_start_time: string | null;
  boot_id: string | null;
  liveness_path: string | null;
  heartbeat_at: number | null;
  last_progress_at: number | null;
  /** Without a sign of life for longer than this it counts as dead; null: only its process decides (CX-03). */
  lease_ms: number | null;
  anchor_commit: string | null;
  anchor_tree: string | null;
  base_short: string;
  /** Absolute path of the checkout. */
  path: string | null;
  client_instance_id: string | null;
  native_actor_key: string | null;
  native_parent_actor_key: string | null;
  native_instance_key: string | null;
  /** The session of drover's that it belongs to (H-13 `heddle_session_id`). */
  owner_session_id: string | null;
  provider: string | null;
  model: string | null;
  harness: string | null;
  thinking_level: string | null;
  /** Null is "never reported", not zero (H-17). */
  input_tokens: number | null;
  output_tokens: number | null;
  reasoning_tokens: number | null;
  tool_calls: number | null;
  cost_micros: number | null;
  report_flush_state: string | null;
  attach_reason: string | null;
  /** JSON array of texts, in order. */
  attach_precedence_json: string;
  winning_attach_rule: string | null;
  probe_source: string | null;
  /** 0 to 1. */
  probe_confidence: number | null;
}

/** Where a line of work starts: ids of the commit and its tree, whole and short (HC-06). */
export interface Anchor {
  commit: string;
  commit_short: string;
  tree: string;
  tree_short: string;
}

/** What an agent looked up, in order (H-18). */
export interface ContextQueryRow {
  session_id: string;
  seq: number;
  path: string;
  scope: string | null;
  queried_at: number;
}

/** A named line of work (HC-16). */
export interface ThreadRow {
  repo_root: string;
  branch: string;
  target_branch: string | null;
  base_commit: string;
  base_tree: string;
  current_commit: string | null;
  /** The commit of the target that has it all. */
  merged_commit: string | null;
  task: string | null;
  execution_path: string;
  ready_at: number | null;
  ready_commit: string | null;
  created_at: number;
  updated_at: number;
}

/** A wish to be alone with the files of a pattern: advice to the others, no lock. */
export interface PathReservationRow {
  id: string;
  repo_root: string;
  /** Relative to the repository, `*` within a folder, `**` across folders. */
  glob: string;
  /** A session, or null for a person. */
  owner_session_id: string | null;
  owner_name: string;
  reason: string | null;
  created_at: number;
  expires_at: number | null;
  released_at: number | null;
}

/** The key by which its harness itself knows a session (H-13): `codex:thread:<id>`, `claude:session:<id>`; null: it does not yet. */
export function nativeActorKey(row: Pick<SessionRow, 'harness' | 'native_session_id'> | null): string | null {
  if (row?.native_session_id == null) return null;
  return `${row.harness}:${row.harness === 'codex' ? 'thread' : 'session'}:${row.native_session_id}`;
}
