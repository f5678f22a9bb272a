import { MAIL_SUBJECT_LIMIT, OPERATOR } from '../model/mail.ts';
import type { ExpandedStep } from '../model/plan.ts';
import {
  ENDED_STEP_STATES,
  STEP_PREDECESSORS,
  type StepOutcome,
  type StepRow,
  type StepSessionRow,
  type StepState,
  type WayOn,
} from '../model/plan-step.ts';
import type { Actor, SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import { isHalted } from './halted.ts';
import { insertSessionIn, type Sling } from './new-session.ts';
import { tellOperatorIn } from './operator-mail.ts';
import { insertSteps, logIn, movePlanIn } from './plan.ts';
import { sqlList } from './sql-list.ts';
import type { Params, Store, Tx } from './store.ts';

/** One try of one step: what every write about it is fenced by. */
export interface TryKey {
  plan_id: string;
  step_id: string;
  round: number;
}

/**
 * Starts one session of a try, the step's claim and the session in one transaction: slung exactly once, whoever decides
 * it how often, and whatever is killed (I9, C-12). Null: somebody was first, the plan is not active any more, or
 * everything is halted.
 * Throws what `insertSessionIn` throws; then nothing was written.
 */
export async function startStep(
  store: Store,
  input: TryKey & { slot: number; sling: Sling; actor: Actor; now: number },
): Promise<SessionRow | null> {
  const { plan_id, step_id, round, slot, sling, actor, now } = input;
  const key = { plan_id, step_id, round };
  return store.write((tx) => {
    if (isHalted(tx)) return null;
    const taken = tx.get(
      'SELECT 1 FROM step_sessions WHERE plan_id = :plan_id AND step_id = :step_id AND round = :round AND slot = :slot',
      { ...key, slot },
    );
    if (taken !== null) return null;
    const plan = tx.get<{ run_id: string }>(
      `UPDATE plan_steps SET state = 'running', started_at = coalesce(started_at, :now), not_before_at = NULL
       WHERE plan_id = :plan_id AND step_id = :step_id AND round = :round AND kind = 'task' AND state IN ('pending', 'running')
         AND EXISTS (SELECT 1 FROM plans WHERE id = :plan_id AND state = 'active')
       RETURNING (SELECT run_id FROM plans WHERE id = :plan_id) AS run_id`,
      { ...key, now },
    );
    if (plan === null) return null;
    const { run: _own, ...rest } = sling;
    const session = insertSessionIn(tx, { ...rest, draft: { ...sling.draft, run_id: plan.run_id } }, actor);
    tx.run(
      `INSERT INTO step_sessions (plan_id, step_id, round, slot, session_id, created_at)
       VALUES (:plan_id, :step_id, :round, :slot, :session_id, :now)`,
      { ...key, slot, session_id: session.id, now },
    );
    logIn(tx, { plan_id, step_id, event: 'started', detail: `${session.name} (${session.id})`, at: now });
    return session;
  });
}

export async function getStep(store: Store, plan_id: string, step_id: string): Promise<StepRow | null> {
  return store.read((tx) =>
    tx.get<StepRow>('SELECT * FROM plan_steps WHERE plan_id = :plan_id AND step_id = :step_id', { plan_id, step_id }),
  );
}

export interface StepMove extends TryKey {
  to: StepState;
  now: number;
  outcome?: StepOutcome | null;
  reason?: string | null;
  session_id?: string | null;
  outputs_json?: string | null;
  /** Of one that is parked because something was refused. */
  way_on?: WayOn;
}

/**
 * The only way a step changes its state but by its start: one UPDATE with the list of predecessors, fenced by its round.
 * Null: somebody was first.
 */
export async function moveStep(store: Store, move: StepMove): Promise<StepRow | null> {
  return store.write((tx) => moveStepIn(tx, move, {}));
}

/**
 * Parks a step over something that only a person can put right, who is told in the same transaction: once for a plan, as long as that
 * mail is not read. Null: somebody was first.
 */
export async function parkStep(
  store: Store,
  move: Omit<StepMove, 'to'>,
  tell: { what: string; body: string },
): Promise<StepRow | null> {
  return store.write((tx) => {
    const row = moveStepIn(tx, { ...move, to: 'parked' }, {});
    if (row === null) return null;
    const { name } = tx.get<{ name: string }>('SELECT name FROM plans WHERE id = :plan_id', {
      plan_id: row.plan_id,
    }) ?? {
      name: row.plan_id,
    };
    const subject = `The plan ${name} waits: ${tell.what}`.slice(0, MAIL_SUBJECT_LIMIT);
    const isTold = tx.get(
      'SELECT 1 FROM mail WHERE to_name = :OPERATOR AND to_id IS NULL AND read_at IS NULL AND subject = :subject',
      { OPERATOR, subject },
    );
    const body = `${tell.body}\n\nThen let it go on: drover plan resume ${quoted(row.plan_id)}`;
    if (isTold === null) tellOperatorIn(tx, { subject, body, priority: 'high' }, move.now);
    return row;
  });
}

function moveStepIn(tx: Tx, move: StepMove, more: Params): StepRow | null {
  const { plan_id, step_id, round, to, now, outcome, reason, session_id, outputs_json } = move;
  const isEnd = (ENDED_STEP_STATES as readonly StepState[]).includes(to);
  // Only a retry waits for a time.
  const given = Object.entries({ outcome, reason, session_id, outputs_json, not_before_at: null, ...more }).filter(
    ([, value]) => value !== undefined,
  ) as [string, string | number | null][];
  const row = tx.get<StepRow>(
    `UPDATE plan_steps SET state = :to, ended_at = :ended_at${given.map(([key]) => `, ${key} = :set_${key}`).join('')}
     WHERE plan_id = :plan_id AND step_id = :step_id AND round = :round AND state IN (${sqlList(STEP_PREDECESSORS[to])})
       AND EXISTS (SELECT 1 FROM plans WHERE id = :plan_id AND ended_at IS NULL)
     RETURNING *`,
    {
      ...{ plan_id, step_id, round, to, ended_at: isEnd ? now : null },
      ...Object.fromEntries(given.map(([key, value]) => [`set_${key}`, value])),
    },
  );
  if (row === null) return null;
  const event = to === 'pending' ? 'retry' : to;
  logIn(tx, { plan_id, step_id, event, outcome: outcome ?? null, detail: reason ?? null, at: now });
  if (move.way_on !== undefined)
    logIn(tx, { plan_id, step_id, event: 'way_on', detail: JSON.stringify(move.way_on), at: now });
  return row;
}

/**
 * A person wants what was refused before an attempt was made (changes not committed, no command for pull requests) to be
 * tried again. Returns the ids of the steps; what an attempt has refused needs a merge by hand.
 */
export async function reopenMerges(store: Store, input: { plan_id: string; now: number }): Promise<string[]> {
  const { plan_id, now } = input;
  return store.write((tx) => {
    const held = tx.all<TryKey>(
      `SELECT plan_id, step_id, round FROM plan_steps AS p
       WHERE plan_id = :plan_id AND state = 'parked' AND session_id IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM merges AS m WHERE m.session_id = p.session_id AND m.reason IS NOT 'rebase')
       ORDER BY position, child_no, step_id`,
      { plan_id },
    );
    const moved = held.filter((key) => moveStepIn(tx, { ...key, now, to: 'merging', reason: null }, {}) !== null);
    const ids = moved.map(({ step_id }) => step_id);
    // What a plan does to its own steps, nobody looks for; this is a person's word.
    if (ids.length > 0)
      logIn(tx, { plan_id, step_id: null, event: 'merges_reopened', detail: ids.slice(0, 20).join(', '), at: now });
    return ids;
  });
}

/** Takes a failed try back: the step waits for its next one. `round` is that of the try that failed. */
export async function retryStep(
  store: Store,
  input: TryKey & { outcome: StepOutcome; not_before_at: number; now: number },
): Promise<StepRow | null> {
  const { not_before_at, ...key } = input;
  const next = { round: input.round + 1, not_before_at };
  return store.write((tx) => moveStepIn(tx, { ...key, to: 'pending', session_id: null }, next));
}

/** A list is there: its group runs, with one step per item, in one transaction. Null: somebody was first. */
export async function fanOutStep(
  store: Store,
  input: TryKey & { members: readonly { step: ExpandedStep; pool: string }[]; dropped: number; now: number },
): Promise<StepRow | null> {
  const { members, dropped, ...key } = input;
  return store.write((tx) => {
    const group = tx.get<StepRow>(
      `UPDATE plan_steps SET state = 'running', started_at = :now, dropped = :dropped
       WHERE plan_id = :plan_id AND step_id = :step_id AND round = :round AND kind = 'group' AND state = 'pending'
         AND EXISTS (SELECT 1 FROM plans WHERE id = :plan_id AND state = 'active')
       RETURNING *`,
      { ...key, dropped },
    );
    if (group === null) return null;
    // The group comes after its members: they take its place, it moves behind them.
    const drafts = members.map((each, n) => ({ ...each, position: group.position, child_no: n - members.length }));
    insertSteps(tx, key.plan_id, drafts);
    const detail = `${members.length} items${dropped > 0 ? `, ${dropped} more were beyond the cap` : ''}`;
    logIn(tx, { plan_id: key.plan_id, step_id: key.step_id, event: 'fanned_out', detail, at: key.now });
    return group;
  });
}

/**
 * Ends a plan and everything of it that has not ended, in one transaction; `failed`: a bug of ours ends it. Returns its sessions that are not ended: they
 * are to be stopped, and whoever dies before that finds them by `sessionsToStop`. Null: it had ended.
 */
export async function cancelPlan(
  store: Store,
  input: { id: string; reason: string; now: number; as?: 'cancelled' | 'failed' },
): Promise<string[] | null> {
  const { id, reason, now, as: to = 'cancelled' } = input;
  return store.write((tx) => {
    if (movePlanIn(tx, { id, to, reason, now }) === null) return null;
    tx.run(
      `UPDATE plan_steps SET state = 'cancelled', ended_at = :now, reason = :reason, not_before_at = NULL
       WHERE plan_id = :id AND state IN (${sqlList(STEP_PREDECESSORS.cancelled)})`,
      { id, reason, now },
    );
    return liveOf(tx, id);
  });
}

function liveOf(tx: Tx, plan_id: string): string[] {
  return tx
    .all<{ id: string }>(
      `SELECT s.id FROM step_sessions AS t JOIN sessions AS s ON s.id = t.session_id
       WHERE t.plan_id = :plan_id AND s.ended_at IS NULL ORDER BY t.created_at, s.id`,
      { plan_id },
    )
    .map(({ id }) => id);
}

/** Live sessions of plans that were ended from outside: who ended them died before they were stopped. */
export async function sessionsToStop(store: Store): Promise<string[]> {
  return store.read((tx) =>
    tx
      .all<{ id: string }>(
        "SELECT id FROM plans WHERE state = 'cancelled' OR (state = 'failed' AND reason GLOB 'internal: *')",
      )
      .flatMap(({ id }) => liveOf(tx, id)),
  );
}

/** Sessions that were slung before their plan was known to stop early, and that nothing lets begin any more. */
export async function sessionsCalledOff(store: Store): Promise<string[]> {
  const rows = await store.read((tx) =>
    tx.all<{ id: string }>(
      `SELECT s.id FROM sessions AS s JOIN step_sessions AS t ON t.session_id = s.id
       JOIN plan_steps AS p ON p.plan_id = t.plan_id AND p.step_id = t.step_id
       WHERE s.ended_at IS NULL AND s.turn = 0 AND s.resume_count = 0 AND s.recovered_from IS NULL AND p.ended_at IS NOT NULL
       ORDER BY t.created_at, s.id`,
    ),
  );
  return rows.map(({ id }) => id);
}

/** How much a session's branch changes, once; the first count stays. */
export async function noteDiff(store: Store, session_id: string, diff_lines: number): Promise<void> {
  await store.write((tx) =>
    tx.run('UPDATE step_sessions SET diff_lines = :diff_lines WHERE session_id = :session_id AND diff_lines IS NULL', {
      session_id,
      diff_lines,
    }),
  );
}

/** Sessions of ended steps whose work was not taken, and whose branch is not put away yet (best of several). */
export async function sessionsToArchive(store: Store): Promise<StepSessionRow[]> {
  return store.read((tx) =>
    tx.all<StepSessionRow>(
      `SELECT t.* FROM step_sessions AS t JOIN plan_steps AS p ON p.plan_id = t.plan_id AND p.step_id = t.step_id
       WHERE t.archived_at IS NULL AND p.state = 'done' AND p.session_id IS NOT NULL AND p.session_id <> t.session_id
         AND p.round = t.round
       ORDER BY t.created_at, t.session_id LIMIT 100`,
    ),
  );
}

export async function markArchived(store: Store, session_id: string, now: number): Promise<boolean> {
  return store.write(
    (tx) =>
      tx.run('UPDATE step_sessions SET archived_at = :now WHERE session_id = :session_id AND archived_at IS NULL', {
        session_id,
        now,
      }) === 1,
  );
}
