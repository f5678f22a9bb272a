/** Held still, as a condition on `sessions`: ended, and no turn of it in flight. */
export const AT_REST = `ended_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM turns AS t WHERE t.session_id = sessions.id AND t.ended_at IS NULL)`;
