import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { type RunRow, readRun, settleRun } from './run.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';

/** What a person changed about which sessions are a run's: `changed` are the ids that were moved, in the order given. */
export interface RunMembers {
  run: RunRow;
  changed: string[];
}

/** `session_ids` exist; the same one twice counts once. */
export interface MembersChange {
  run_id: string;
  session_ids: readonly string[];
  now: number;
}

/**
 * Puts sessions into an active run, all or none (O-82). One that is in it already stays so; one that has ended counts as
 * done, so that a run given nothing else is over at once.
 * Throws `run_ended`, `run_of_plan`, `in_another_run` (3).
 */
export async function addToRun(store: Store, { run_id, session_ids, now }: MembersChange): Promise<RunMembers> {
  return store.write((tx) => {
    const run = ownRun(tx, run_id);
    if (run.status !== 'active') throw ended(run, '`drover run create NAME` starts another.');
    const changed: string[] = [];
    for (const session of distinct(tx, session_ids)) {
      if (session.run_id === run_id) continue;
      if (session.run_id !== null) throw elsewhere(tx, session, session.run_id);
      move(tx, session.id, run_id);
      changed.push(session.id);
    }
    if (changed.length > 0) settleRun(tx, run_id, now);
    return { run: readRun(tx, run_id) ?? run, changed };
  });
}

/**
 * Takes sessions out of a run, all or none; they go on without one (O-82). Of an ended run only those that still live:
 * what ended in it is its record. Throws `run_ended`, `run_of_plan`, `not_in_run` (3).
 */
export async function removeFromRun(store: Store, { run_id, session_ids, now }: MembersChange): Promise<RunMembers> {
  return store.write((tx) => {
    const run = ownRun(tx, run_id);
    const changed: string[] = [];
    for (const session of distinct(tx, session_ids)) {
      if (session.run_id !== run_id) throw notIn(run, session);
      if (run.status !== 'active' && session.ended_at !== null)
        throw ended(run, `${session.name} ended in it and stays on its record.`);
      move(tx, session.id, null);
      changed.push(session.id);
    }
    settleRun(tx, run_id, now);
    return { run: readRun(tx, run_id) ?? run, changed };
  });
}

const preserved = 'nothing was changed';

function distinct(tx: Tx, ids: readonly string[]): SessionRow[] {
  return [...new Set(ids)].map((id) => {
    const row = readSession(tx, id);
    if (row === null) throw new AppError('not_found', 'session_not_found', `Session not found: ${id}`, { preserved });
    return row;
  });
}

/** `updated_at` stays: nothing happened to the session itself. */
function move(tx: Tx, id: string, run_id: string | null): void {
  tx.run('UPDATE sessions SET run_id = :run_id WHERE id = :id', { id, run_id });
}

/** A run whose sessions a person may choose: a plan starts its own. */
function ownRun(tx: Tx, id: string): RunRow {
  const run = readRun(tx, id);
  if (run === null) throw new AppError('not_found', 'run_not_found', `Run not found: ${id}`, { preserved });
  refusePlans(tx, run);
  return run;
}

function refusePlans(tx: Tx, run: RunRow): void {
  const plan = tx.get<{ id: string; name: string }>('SELECT id, name FROM plans WHERE run_id = :id', { id: run.id });
  if (plan === null) return;
  throw new AppError('refused', 'run_of_plan', `The run ${run.name} belongs to the plan ${plan.name} (${plan.id}).`, {
    hint: 'Its sessions are those of its steps. Group others with `drover run create NAME`.',
    preserved,
    recovery_commands: [`drover plan show ${plan.id}`],
  });
}

function elsewhere(tx: Tx, session: SessionRow, run_id: string): AppError {
  const other = readRun(tx, run_id);
  if (other !== null) refusePlans(tx, other);
  const isRecord = other !== null && other.status !== 'active' && session.ended_at !== null;
  const where = other === null ? run_id : `${other.name} (${run_id}, ${other.status})`;
  return new AppError('refused', 'in_another_run', `${session.name} is in the run ${where} already.`, {
    hint: isRecord ? 'It ended there and stays on its record.' : 'A session is in one run at most: take it out there.',
    preserved,
    ...(isRecord ? {} : { recovery_commands: [`drover run remove ${run_id} ${session.id}`] }),
  });
}

function notIn(run: RunRow, session: SessionRow): AppError {
  return new AppError('refused', 'not_in_run', `${session.name} is not in the run ${run.name} (${run.id}).`, {
    hint: 'See who is.',
    preserved,
    recovery_commands: [`drover run show ${run.id}`],
  });
}

function ended(run: RunRow, hint: string): AppError {
  return new AppError('refused', 'run_ended', `The run ${run.name} (${run.id}) is ${run.status}.`, { hint, preserved });
}
