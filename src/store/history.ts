import type { PastSession } from '../model/forecast.ts';
import type { Store } from './store.ts';

/** What older sessions took says little of what the next one will. */
const NEWEST = 5_000;

/**
 * What sessions came to that have ended, newest first, for a forecast. One that never had a turn, or that a person ended,
 * says nothing. `took_ms` is the time of its turns: what it waited for is not its own.
 */
export async function pastSessions(store: Store): Promise<PastSession[]> {
  return store.read((tx) =>
    tx.all<PastSession>(
      `WITH past AS (
         SELECT id, harness, profile_name, role, cost_micros FROM sessions
         WHERE ended_at IS NOT NULL AND turn > 0 AND state <> 'stopped' ORDER BY created_at DESC, id LIMIT :newest)
       SELECT plans.name AS plan_name, coalesce(step.group_id, step.step_id) AS step_id, past.harness, past.profile_name,
         past.role, past.cost_micros,
         (SELECT coalesce(sum(u.ended_at - u.started_at), 0) FROM turns AS u
          WHERE u.session_id = past.id AND u.ended_at IS NOT NULL) AS took_ms
       FROM past LEFT JOIN step_sessions AS own ON own.session_id = past.id
       LEFT JOIN plan_steps AS step ON step.plan_id = own.plan_id AND step.step_id = own.step_id
       LEFT JOIN plans ON plans.id = own.plan_id`,
      { newest: NEWEST },
    ),
  );
}
