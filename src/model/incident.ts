/** What is done when two live sessions changed the same path (E-130…E-132). */
export const CONFLICT_STRATEGIES = ['escalate', 'last_write_wins', 'merge'] as const;
export type ConflictStrategy = (typeof CONFLICT_STRATEGIES)[number];

/** `overlap`: both wrote; `reserved`: one wrote where another has reserved. */
export const INCIDENT_KINDS = ['overlap', 'reserved'] as const;
export type IncidentKind = (typeof INCIDENT_KINDS)[number];

export const FILE_ACTIONS = ['read', 'create', 'modify', 'move', 'delete', 'touch'] as const;
export type FileAction = (typeof FILE_ACTIONS)[number];

/** How drover learned of it: a tool call of the stream, the tree at the end of a turn, an imported log. */
export const ACTIVITY_SOURCES = ['tool', 'git', 'import'] as const;
export type ActivitySource = (typeof ACTIVITY_SOURCES)[number];

/** One thing one session did to one file (E-142). `path` is relative to the repository's root, also in a worktree. */
export interface FileActivityRow {
  seq: number;
  session_id: string;
  turn: number | null;
  repo_root: string;
  path: string;
  action: FileAction;
  source: ActivitySource;
  /** The tool's or the importer's own id; the same one is not stored twice. */
  event_id: string | null;
  at: number;
}

/** What a tool call is about to do to a file: no activity before its answer is there, or its turn over. */
export interface OpenCallRow {
  seq: number;
  session_id: string;
  turn: number;
  event_id: string;
  path: string;
  action: FileAction;
  at: number;
}

/** One row of `incidents` (E-137). At most one of a key is open. */
export interface IncidentRow {
  id: string;
  /** `<path>::<smaller id>::<larger id>` (E-129). */
  key: string;
  repo_root: string;
  kind: IncidentKind;
  path: string;
  /** By id, smaller first. Of `reserved` the second is who wrote. */
  first_session_id: string;
  second_session_id: string;
  first_action: FileAction | null;
  second_action: FileAction | null;
  active_session_id: string | null;
  paused_session_id: string | null;
  strategy: ConflictStrategy;
  summary: string;
  /** JSON of what a merge of the two branches would give, or null when it is not known. */
  prediction_json: string | null;
  created_at: number;
  updated_at: number;
  resolved_at: number | null;
  /** In words: who or what resolved it, and how. */
  resolution: string | null;
}

/** One row of `decisions` (E-143). */
export interface DecisionRow {
  seq: number;
  session_id: string;
  decision: string;
  alternatives_json: string;
  reasoning: string;
  at: number;
}
