import { AppError } from '../model/error.ts';
import {
  afterFailure,
  type DueDecision,
  type DueEntry,
  type ScheduleRow,
  type ScheduleRunRow,
} from '../model/schedule.ts';
import type { Actor, SessionRow } from '../model/session.ts';
import { isHalted } from './halted.ts';
import { insertSessionIn, type Sling } from './new-session.ts';
import { tellOperatorIn } from './operator-mail.ts';
import { insertPlanIn, type PlanDraft } from './plan.ts';
import type { Store, Tx } from './store.ts';

export type NewSchedule = Omit<
  ScheduleRow,
  | 'last_run_at'
  | 'last_error'
  | 'fail_count'
  | 'backoff_until_at'
  | 'is_enabled'
  | 'disabled_reason'
  | 'created_at'
  | 'updated_at'
>;

const NEW_COLUMNS: readonly (keyof NewSchedule)[] = [
  ...(['id', 'name', 'cron', 'timezone', 'task', 'plan_file', 'harness', 'profile_name', 'role', 'worktree'] as const),
  ...([
    'repo_root',
    'working_dir',
    'project',
    'task_group',
    'overlap',
    'catch_up',
    'catch_up_max',
    'next_run_at',
    'variables_json',
  ] as const),
];

/** Throws `schedule_exists` (3). */
export async function insertSchedule(store: Store, draft: NewSchedule, now: number): Promise<ScheduleRow> {
  return store.write((tx) => {
    const row = tx.get<ScheduleRow>(
      `INSERT INTO schedules (${NEW_COLUMNS.join(', ')}, created_at, updated_at)
       VALUES (${NEW_COLUMNS.map((column) => `:${column}`).join(', ')}, :now, :now) ON CONFLICT DO NOTHING RETURNING *`,
      { ...draft, now },
    );
    if (row !== null) return row;
    throw new AppError('refused', 'schedule_exists', `There is a schedule called ${draft.name}.`, {
      hint: 'Give another --name, or remove that one first.',
      preserved: 'nothing was stored',
      recovery_commands: [`drover schedule rm ${draft.name}`],
    });
  });
}

/** By name (E-057). */
export async function listSchedules(store: Store): Promise<ScheduleRow[]> {
  return store.read((tx) => tx.all<ScheduleRow>('SELECT * FROM schedules ORDER BY name'));
}

/** A schedule by id or name; null: there is none. */
export async function findSchedule(store: Store, wanted: string): Promise<ScheduleRow | null> {
  return store.read((tx) =>
    tx.get<ScheduleRow>('SELECT * FROM schedules WHERE id = :wanted OR name = :wanted', { wanted }),
  );
}

/** True only if a row was removed (E-057). What it started goes on; its history stays. */
export async function removeSchedule(store: Store, id: string): Promise<boolean> {
  return store.write((tx) => {
    passOver(tx, id, 'the schedule was removed', false);
    return tx.run('DELETE FROM schedules WHERE id = :id', { id }) === 1;
  });
}

/** Newest first. */
export async function listScheduleRuns(store: Store, schedule_id: string, limit = 100): Promise<ScheduleRunRow[]> {
  return store.read((tx) =>
    tx.all<ScheduleRunRow>(
      'SELECT * FROM schedule_runs WHERE schedule_id = :schedule_id ORDER BY due_at DESC LIMIT :limit',
      { schedule_id, limit },
    ),
  );
}

/** A schedule with what `due` has to know of it, and what it started that has not ended. */
export interface ScheduleState {
  schedule: ScheduleRow;
  waiting: number[];
  live: { session_id: string | null; plan_id: string | null }[];
  /** The last halt that was lifted. */
  halted: { from: number; until: number } | null;
}

const LAST_HALT = `SELECT at AS "from", lifted_at AS until FROM halts WHERE lifted_at IS NOT NULL ORDER BY seq DESC LIMIT 1`;

const LIVE = `SELECT r.session_id, r.plan_id FROM schedule_runs AS r
  LEFT JOIN sessions AS s ON s.id = r.session_id LEFT JOIN plans AS p ON p.id = r.plan_id
  WHERE r.schedule_id = :id AND r.state = 'fired'
    AND ((s.id IS NOT NULL AND s.ended_at IS NULL) OR (p.id IS NOT NULL AND p.ended_at IS NULL))
  ORDER BY r.due_at`;

/** Schedules that are due, or whose waiting run may go now. In no particular order. */
export async function dueSchedules(store: Store, now: number): Promise<ScheduleState[]> {
  return store.read((tx) => {
    const halted = tx.get<NonNullable<ScheduleState['halted']>>(LAST_HALT);
    return tx
      .all<ScheduleRow>(
        `SELECT * FROM schedules WHERE is_enabled = 1 AND (next_run_at <= :now
           OR EXISTS (SELECT 1 FROM schedule_runs AS r WHERE r.schedule_id = schedules.id AND r.state = 'waiting'))`,
        { now },
      )
      .map((schedule) => ({
        schedule,
        waiting: tx
          .all<{ due_at: number }>(
            "SELECT due_at FROM schedule_runs WHERE schedule_id = :id AND state = 'waiting' ORDER BY due_at",
            { id: schedule.id },
          )
          .map(({ due_at }) => due_at),
        live: tx.all<ScheduleState['live'][number]>(LIVE, { id: schedule.id }),
        halted,
      }));
  });
}

/** When the next schedule is due; null: none is. */
export async function nextScheduleAt(store: Store): Promise<number | null> {
  const row = await store.read((tx) =>
    tx.get<{ at: number | null }>(
      'SELECT min(next_run_at) AS at FROM schedules WHERE is_enabled = 1 AND next_run_at IS NOT NULL',
    ),
  );
  return row?.at ?? null;
}

/** What a due time starts. */
export type Start = { session: Sling } | { plan: PlanDraft };

export interface Fired {
  schedule: ScheduleRow;
  /** What was started, if the decision starts anything. */
  session: SessionRow | null;
  plan_id: string | null;
}

/**
 * Carries a decision out in one transaction: the next time is moved from what it was (I9), every due time gets its row,
 * and what is to start is started. Whoever polls and whatever is killed: once per due time. Null: somebody was first, or
 * everything is halted: a time that is due then is looked at when that is over. Throws what the start throws; then nothing was written, and `failSchedule` is next.
 */
export async function fireSchedule(
  store: Store,
  input: { decision: DueDecision; start: Start | null; actor: Actor; now: number },
): Promise<Fired | null> {
  const { decision, start, actor, now } = input;
  const { schedule_id, release, entries } = decision;
  const fires = release !== null || entries.some(({ state }) => state === 'fired');
  if (fires !== (start !== null)) throw new Error('a decision and its start must agree');
  return store.write((tx) => {
    if (isHalted(tx)) return null;
    const schedule = advanceIn(tx, decision, fires, now);
    if (schedule === null) return null;
    if (release !== null) takeWaiting(tx, schedule_id, release);
    const { session, plan_id } = startIn(tx, start, schedule_id, actor);
    const started = { session_id: session?.id ?? null, plan_id };
    if (release !== null) {
      const entry = { due_at: release, until_at: release, times: 1, state: 'fired', reason: 'it waited' } as const;
      insertRun(tx, schedule_id, entry, started, now);
    }
    for (const entry of entries) insertRun(tx, schedule_id, entry, started, now);
    return { schedule, session, plan_id };
  });
}

function startIn(tx: Tx, start: Start | null, schedule_id: string, actor: Actor): Omit<Fired, 'schedule'> {
  return {
    session: start !== null && 'session' in start ? insertSessionIn(tx, start.session, actor) : null,
    plan_id: start !== null && 'plan' in start ? insertPlanIn(tx, { ...start.plan, schedule_id }).id : null,
  };
}

/**
 * Starts it beside its due times, because a person said so: a row of its own, and what overlaps sees it. Null: there is
 * no such schedule any more. Throws what the start throws.
 */
export async function runSchedule(
  store: Store,
  { id, start, actor, now }: { id: string; start: Start; actor: Actor; now: number },
): Promise<(Fired & { run: ScheduleRunRow }) | null> {
  return store.write((tx) => {
    const schedule = tx.get<ScheduleRow>(
      'UPDATE schedules SET last_run_at = :now, updated_at = :now WHERE id = :id RETURNING *',
      { id, now },
    );
    if (schedule === null) return null;
    const { session, plan_id } = startIn(tx, start, id, actor);
    const run = tx.get<ScheduleRunRow>(
      `INSERT INTO schedule_runs (schedule_id, due_at, until_at, times, state, reason, session_id, plan_id, at)
       SELECT :id, due_at, due_at, 1, 'fired', 'by hand', :session_id, :plan_id, :now FROM (
         SELECT CASE WHEN EXISTS (SELECT 1 FROM schedule_runs WHERE schedule_id = :id AND due_at = :now)
           THEN (SELECT max(due_at) + 1 FROM schedule_runs WHERE schedule_id = :id) ELSE :now END AS due_at)
       RETURNING *`,
      { id, session_id: session?.id ?? null, plan_id, now },
    );
    if (run === null) throw new Error('an inserted row is returned');
    return { schedule, session, plan_id, run };
  });
}

function advanceIn(tx: Tx, decision: DueDecision, fires: boolean, now: number): ScheduleRow | null {
  const { schedule_id, was, next_run_at, release } = decision;
  // Looked at before anything is written: another process may have let the same one go, and then the time is as it was.
  if (release !== null && !isWaiting(tx, schedule_id, release)) return null;
  const ran = fires ? ', last_run_at = :now, fail_count = 0, last_error = NULL, backoff_until_at = NULL' : '';
  return tx.get<ScheduleRow>(
    `UPDATE schedules SET next_run_at = :next_run_at, updated_at = :now${ran}
     WHERE id = :schedule_id AND next_run_at IS :was AND is_enabled = 1 RETURNING *`,
    { schedule_id, was, next_run_at, now },
  );
}

const WAITING = "schedule_id = :schedule_id AND due_at = :due_at AND state = 'waiting'";

function isWaiting(tx: Tx, schedule_id: string, due_at: number): boolean {
  return tx.get(`SELECT 1 FROM schedule_runs WHERE ${WAITING}`, { schedule_id, due_at }) !== null;
}

/** Its row is written again, as what has become of it. */
function takeWaiting(tx: Tx, schedule_id: string, due_at: number): void {
  tx.run(`DELETE FROM schedule_runs WHERE ${WAITING}`, { schedule_id, due_at });
}

function insertRun(
  tx: Tx,
  schedule_id: string,
  entry: Omit<DueEntry, 'state'> & Pick<ScheduleRunRow, 'state'>,
  started: Pick<ScheduleRunRow, 'session_id' | 'plan_id'>,
  now: number,
): void {
  const own = entry.state === 'fired' ? started : { session_id: null, plan_id: null };
  tx.run(
    `INSERT INTO schedule_runs (schedule_id, due_at, until_at, times, state, reason, session_id, plan_id, at)
     VALUES (:schedule_id, :due_at, :until_at, :times, :state, :reason, :session_id, :plan_id, :now)`,
    { schedule_id, ...entry, ...own, now },
  );
}

/**
 * The start of a due time has failed: it is written down, the schedule waits longer and longer and is switched off with a
 * mail at the fifth time in a row (CX-35, E-060). Guarded like the start itself. Null: somebody was first.
 */
export async function failSchedule(
  store: Store,
  input: { decision: DueDecision; error: string; now: number },
): Promise<ScheduleRow | null> {
  const { decision, error, now } = input;
  const { schedule_id, release, entries } = decision;
  return store.write((tx) => {
    const before = advanceIn(tx, decision, false, now);
    if (before === null) return null;
    const none = { session_id: null, plan_id: null };
    if (release !== null) {
      takeWaiting(tx, schedule_id, release);
      const entry = { due_at: release, until_at: release, times: 1, state: 'failed', reason: error } as const;
      insertRun(tx, schedule_id, entry, none, now);
    }
    for (const entry of entries) {
      const failed = entry.state === 'fired' ? ({ state: 'failed', reason: error } as const) : null;
      insertRun(tx, schedule_id, { ...entry, ...failed }, none, now);
    }
    const after = afterFailure(before, now);
    const disabled_reason = after.is_enabled === 1 ? null : `it failed ${after.fail_count} times in a row: ${error}`;
    const row = tx.get<ScheduleRow>(
      `UPDATE schedules SET fail_count = :fail_count, backoff_until_at = :backoff_until_at, is_enabled = :is_enabled,
         disabled_reason = :disabled_reason, last_error = :error WHERE id = :schedule_id RETURNING *`,
      { ...after, disabled_reason, error, schedule_id },
    );
    if (row !== null && row.is_enabled === 0) tellOfDisabled(tx, row, now);
    return row;
  });
}

function tellOfDisabled(tx: Tx, row: ScheduleRow, now: number): void {
  const mail = {
    subject: `The schedule ${row.name} is switched off: it failed ${row.fail_count} times in a row`,
    body: `The schedule ${row.name} (${row.cron} ${row.timezone}) could not start what it is for:\n\n${row.last_error}\n\nCorrect that, then: drover schedule enable ${row.name}`,
    payload_json: JSON.stringify({ schedule: row.id, fail_count: row.fail_count, error: row.last_error }),
  };
  tellOperatorIn(tx, mail, now);
}

/** Switches a schedule on, with its next time, or off; its failures are forgotten. Null: there is none. */
export async function setScheduleEnabled(
  store: Store,
  input: { id: string; next_run_at: number | null; disabled_reason: string | null; now: number },
): Promise<ScheduleRow | null> {
  return store.write((tx) => {
    // What waited when it was switched off is not started by switching it on, however late.
    passOver(tx, input.id, 'the schedule was switched off', input.disabled_reason === null);
    return tx.get<ScheduleRow>(
      `UPDATE schedules SET is_enabled = (:disabled_reason IS NULL), disabled_reason = :disabled_reason,
         next_run_at = :next_run_at, fail_count = 0, backoff_until_at = NULL, updated_at = :now
       WHERE id = :id RETURNING *`,
      input,
    );
  });
}

/** A run that waits starts nothing any more; `only_off`: if the schedule is switched off. */
function passOver(tx: Tx, schedule_id: string, reason: string, only_off: boolean): void {
  tx.run(
    `UPDATE schedule_runs SET state = 'skipped', reason = :reason WHERE schedule_id = :schedule_id AND state = 'waiting'
       ${only_off ? 'AND EXISTS (SELECT 1 FROM schedules WHERE id = :schedule_id AND is_enabled = 0)' : ''}`,
    { schedule_id, reason },
  );
}
