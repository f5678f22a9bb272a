/**
 * Nothing but a slot keeps the session `s` from its next turn: no back-off runs and its pool is open to it. Needs `:now`.
 * What `mayStart` says, for many sessions at once.
 */
export const STARTABLE = `(s.next_turn_at IS NULL OR s.next_turn_at <= :now) AND NOT EXISTS (SELECT 1 FROM pools AS p WHERE p.name = s.pool AND
  (p.state = 'blocked' OR (p.state = 'probing' AND p.probe_id <> s.id) OR (p.state = 'open' AND p.retry_at > :now)))`;

/** The session `s` asked for a worktree and has none yet; it may have a slot for one. */
export const WANTS_WORKTREE = 's.branch IS NOT NULL AND s.base_ref IS NOT NULL AND s.worktree_path IS NULL';
