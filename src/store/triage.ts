import { mayStart } from '../model/pool.ts';
import type { SessionRow } from '../model/session.ts';
import { isHalted } from './halted.ts';
import { insertSessionIn, type Sling } from './new-session.ts';
import { readPool } from './pool.ts';
import type { Store, Tx } from './store.ts';
import { type Act, record, standing } from './watch-act.ts';

const DAY_MS = 86_400_000;

/** What a question costs is bounded by these. */
export interface AskLimits {
  /** Questions within a day, counted by their verdicts. */
  per_day: number;
  /** The pool of the harness that is asked. */
  pool: string;
  now: number;
}

/** May one more question be asked? */
export async function mayAsk(store: Store, limits: AskLimits): Promise<boolean> {
  return store.read((tx) => isAffordable(tx, limits));
}

function isAffordable(tx: Tx, { per_day, pool, now }: AskLimits): boolean {
  if (isHalted(tx)) return false;
  const asked = tx.get<{ n: number }>("SELECT count(*) AS n FROM verdicts WHERE act = 'triage' AND at > :since", {
    since: now - DAY_MS,
  });
  return (asked?.n ?? 0) < per_day && mayStart(readPool(tx, pool), '', now) === 'go';
}

/**
 * Takes the ladder's step `triage`: the session that answers, the verdict that names it and the rung, in one transaction.
 * Returns that session; `null` when somebody was first (as for every act), or when it may not be asked any more.
 */
export async function askTriage(
  store: Store,
  act: Act,
  input: { sling: Sling; limits: AskLimits },
): Promise<SessionRow | null> {
  return store.write((tx) => {
    const row = standing(tx, act);
    if (row === null || act.rung === null || row.ended_at !== null) return null;
    // Another look has taken this step, and a question about it is open.
    if (row.escalation_cause === act.rung.cause && row.escalation_level >= act.rung.level) return null;
    if (!isAffordable(tx, input.limits)) return null;
    const asked = insertSessionIn(tx, input.sling, 'watchdog');
    record(tx, { ...act, verdict: { ...act.verdict, triage_id: asked.id } });
    return asked;
  });
}

/** A question about a turn that no act has followed yet. `session` null: its row is gone. */
export interface Question {
  triage_id: string;
  asked_at: number;
  session: Pick<SessionRow, 'state' | 'result_text' | 'ended_at'> | null;
}

/** `null`: nobody was asked about this turn, or the answer was used. */
export async function questionOf(store: Store, key: { session_id: string; turn: number }): Promise<Question | null> {
  return store.read((tx) => {
    const last = tx.get<{ triage_id: string; act: string; at: number }>(
      `SELECT triage_id, act, at FROM verdicts WHERE session_id = :session_id AND turn = :turn AND triage_id IS NOT NULL
       ORDER BY seq DESC LIMIT 1`,
      { session_id: key.session_id, turn: key.turn },
    );
    if (last === null || last.act !== 'triage') return null;
    const session = tx.get<Pick<SessionRow, 'state' | 'result_text' | 'ended_at'>>(
      'SELECT state, result_text, ended_at FROM sessions WHERE id = :id',
      { id: last.triage_id },
    );
    return { triage_id: last.triage_id, asked_at: last.at, session };
  });
}

/** Sessions at the desk whose answer comes too late, or has to wait for something. */
export async function overdueAnswers(store: Store, late: { desk: string; before: number }): Promise<string[]> {
  return store.read((tx) =>
    tx
      .all<{ id: string }>(
        // Few sessions live: the plus keeps the index of all that ever sat at the desk from being preferred.
        `SELECT id FROM sessions WHERE ended_at IS NULL AND +repo_root = :desk
           AND (created_at < :before OR state = 'parked')`,
        { ...late },
      )
      .map(({ id }) => id),
  );
}
