import { AppError } from '../model/error.ts';
import {
  ENDED_PLAN_STATES,
  type ExpandedStep,
  PLAN_PREDECESSORS,
  type PlanLogRow,
  type PlanRow,
  type PlanSettings,
  type PlanState,
  type StopCause,
} from '../model/plan.ts';
import { setBudgetIn } from './budget.ts';
import { isHalted, refuseHalted } from './halted.ts';
import { ensureRun } from './run.ts';
import { sqlList } from './sql-list.ts';
import type { Store, Tx } from './store.ts';

export interface PlanDraft {
  id: string;
  settings: PlanSettings;
  /** In the order of `checkPlan`, each with the pool its sessions will share. */
  steps: readonly { step: ExpandedStep; pool: string }[];
  repo_root: string;
  working_dir: string;
  file: string | null;
  schedule_id: string | null;
  now: number;
}

/**
 * Stores a plan with all its steps and its run, before anything of it starts, in one transaction (C-12).
 * Throws `halted` (3) and what `ensureRun` throws.
 */
export async function insertPlan(store: Store, draft: PlanDraft): Promise<PlanRow> {
  return store.write((tx) => insertPlanIn(tx, draft));
}

/** The same inside another transaction. */
export function insertPlanIn(tx: Tx, draft: PlanDraft): PlanRow {
  const { settings, steps, now, ...rest } = draft;
  refuseHalted(tx, 'nothing was stored, nothing was started');
  const run_id = ensureRun(tx, freeRunName(tx, settings.name), now);
  const row = tx.get<PlanRow>(
    `INSERT INTO plans (id, name, run_id, repo_root, working_dir, file, schedule_id, settings_json, state, created_at, updated_at)
     VALUES (:id, :name, :run_id, :repo_root, :working_dir, :file, :schedule_id, :settings_json, 'active', :now, :now)
     RETURNING *`,
    { ...rest, name: settings.name, run_id, settings_json: JSON.stringify(settings), now },
  );
  if (row === null) throw new Error('an inserted row is returned');
  if (settings.budget !== null) setBudgetIn(tx, { scope: 'run', key: run_id, ...settings.budget, now });
  insertSteps(
    tx,
    row.id,
    steps.map((each, position) => ({ ...each, position, child_no: 0 })),
  );
  logIn(tx, { plan_id: row.id, step_id: null, event: 'created', detail: `${steps.length} steps`, at: now });
  return row;
}

export interface StepDraft {
  step: ExpandedStep;
  pool: string;
  position: number;
  child_no: number;
}

/** For use inside the transaction of the plan, or of the step whose list they are. */
export function insertSteps(tx: Tx, plan_id: string, steps: readonly StepDraft[]): void {
  tx.insert(
    'INSERT INTO plan_steps (plan_id, state, step_id, position, child_no, kind, group_id, spec_json, pool)',
    [plan_id, 'pending'],
    7,
    steps.flatMap(({ step, pool, position, child_no }) => [
      ...[step.id, position, child_no, step.kind, step.group_id, JSON.stringify(step), pool],
    ]),
  );
}

/** One active run per name: a plan that is started again beside itself gets a number. */
export function freeRunName(tx: Tx, wanted: string): string {
  for (let n = 1; ; n++) {
    const name = n === 1 ? wanted : `${wanted.slice(0, 58)}-${n}`;
    if (tx.get("SELECT 1 FROM runs WHERE name = :name AND status = 'active'", { name }) === null) return name;
  }
}

/** For use inside the transaction of what it tells. */
export function logIn(tx: Tx, line: Omit<PlanLogRow, 'seq' | 'outcome'> & Partial<Pick<PlanLogRow, 'outcome'>>): void {
  tx.run(
    `INSERT INTO plan_log (plan_id, step_id, event, outcome, detail, at)
     VALUES (:plan_id, :step_id, :event, :outcome, :detail, :at)`,
    { outcome: null, ...line },
  );
}

/** Everything that happened to a plan and its steps, oldest first. */
export async function listPlanLog(store: Store, plan_id: string): Promise<PlanLogRow[]> {
  return store.read((tx) =>
    tx.all<PlanLogRow>('SELECT * FROM plan_log WHERE plan_id = :plan_id ORDER BY seq', { plan_id }),
  );
}

export async function getPlan(store: Store, id: string): Promise<PlanRow | null> {
  return store.read((tx) => tx.get<PlanRow>('SELECT * FROM plans WHERE id = :id', { id }));
}

/** Newest first; `open`: only those that have not ended, oldest first, as the loop goes through them. */
export async function listPlans(store: Store, filter: { open?: boolean; limit?: number } = {}): Promise<PlanRow[]> {
  const limit = filter.limit ?? 1_000;
  return store.read((tx) =>
    filter.open
      ? tx.all<PlanRow>('SELECT * FROM plans WHERE ended_at IS NULL ORDER BY created_at, id LIMIT :limit', { limit })
      : tx.all<PlanRow>('SELECT * FROM plans ORDER BY created_at DESC, id LIMIT :limit', { limit }),
  );
}

/**
 * A plan by id, by the id of its run, by name (an open one before ended ones, then newest), by the beginning of its id,
 * or `latest`. Throws `plan_not_found` (4), `plan_ambiguous` (2).
 */
export async function findPlan(store: Store, wanted: string): Promise<PlanRow> {
  const found = await store.read((tx) => candidates(tx, wanted));
  const [first, second] = found;
  if (first !== undefined && second === undefined) return first;
  if (first === undefined) {
    throw new AppError('not_found', 'plan_not_found', `Plan not found: ${wanted}`, {
      hint: '`drover plan list` shows all.',
    });
  }
  throw new AppError('usage', 'plan_ambiguous', `${wanted} is the beginning of ${found.length} plan ids.`, {
    hint: `Give more of it: ${found.map((row) => `${row.id} (${row.name})`).join(', ')}`,
    data: { candidates: found.map(({ id, name, state }) => ({ id, name, state })) },
  });
}

function candidates(tx: Tx, wanted: string): PlanRow[] {
  if (wanted === 'latest') return tx.all<PlanRow>('SELECT * FROM plans ORDER BY created_at DESC, id LIMIT 1');
  const exact = tx.all<PlanRow>('SELECT * FROM plans WHERE id = :wanted OR run_id = :wanted', { wanted });
  if (exact.length > 0) return exact;
  const named = tx.all<PlanRow>(
    'SELECT * FROM plans WHERE name = :wanted ORDER BY (ended_at IS NULL) DESC, created_at DESC, id LIMIT 1',
    { wanted },
  );
  if (named.length > 0 || wanted.length < 4 || !/^[a-z0-9-]+$/.test(wanted)) return named;
  const from = wanted.startsWith('plan-') ? wanted : `plan-${wanted}`;
  return tx.all<PlanRow>('SELECT * FROM plans WHERE id >= :from AND id < :below ORDER BY id LIMIT 10', {
    from,
    below: `${from}~`,
  });
}

export interface PlanMove {
  id: string;
  to: PlanState;
  reason: string | null;
  /** All its steps have ended: not so if a person has taken one up again in between. */
  is_through?: boolean;
  now: number;
}

const OPEN_STEP = '(SELECT 1 FROM plan_steps WHERE plan_id = :id AND ended_at IS NULL)';

/**
 * The only way a plan changes its state: one UPDATE with the list of predecessors; but for its reopening
 * (`takeUpStepIn`). With its end its run ends. Null: somebody was first.
 */
export async function movePlan(store: Store, move: PlanMove): Promise<PlanRow | null> {
  return store.write((tx) => movePlanIn(tx, move));
}

/** The same inside another transaction. */
export function movePlanIn(tx: Tx, { id, to, reason, now, is_through }: PlanMove): PlanRow | null {
  // Whatever brings it back: a halt is lifted first, and takes along those that it paused.
  if (to === 'active' && isHalted(tx)) return null;
  const isEnd = (ENDED_PLAN_STATES as readonly PlanState[]).includes(to);
  const row = tx.get<PlanRow>(
    `UPDATE plans SET state = :to, reason = :reason, updated_at = :now, ended_at = :ended_at
     WHERE id = :id AND state IN (${sqlList(PLAN_PREDECESSORS[to])})${is_through === true ? ` AND NOT EXISTS ${OPEN_STEP}` : ''} RETURNING *`,
    { id, to, reason, now, ended_at: isEnd ? now : null },
  );
  if (row === null) return null;
  logIn(tx, { plan_id: id, step_id: null, event: to, detail: reason, at: now });
  if (isEnd) {
    tx.run("UPDATE runs SET status = :status, completed_at = :now WHERE id = :run_id AND status = 'active'", {
      status: to === 'completed' ? 'completed' : 'failed',
      now,
      run_id: row.run_id,
    });
  }
  return row;
}

/**
 * Nothing new starts from now on; the first cause stays. False: there was one, the plan has ended, or there are fewer
 * failed steps than the `failed` that it was decided for.
 */
export async function stopPlan(
  store: Store,
  input: { id: string; cause: StopCause; failed?: number; now: number },
): Promise<boolean> {
  return store.write((tx) => {
    const changed = tx.run(
      `UPDATE plans SET stopping = :cause, updated_at = :now WHERE id = :id AND stopping IS NULL AND ended_at IS NULL
         AND (SELECT count(*) FROM plan_steps WHERE plan_id = :id AND state = 'failed') >= :failed`,
      { failed: 0, ...input },
    );
    if (changed === 1)
      logIn(tx, { plan_id: input.id, step_id: null, event: 'stopping', detail: input.cause, at: input.now });
    return changed === 1;
  });
}

/** Notes once that the plan's window has opened or closed. */
export async function setPlanWindow(
  store: Store,
  input: { id: string; is_open: boolean; now: number },
): Promise<boolean> {
  return store.write((tx) => {
    const is_open = input.is_open ? 1 : 0;
    const changed = tx.run(
      `UPDATE plans SET is_window_open = :is_open, updated_at = :now
       WHERE id = :id AND ended_at IS NULL AND is_window_open IS NOT :is_open`,
      { ...input, is_open },
    );
    const event = input.is_open ? 'window_opened' : 'window_closed';
    if (changed === 1) logIn(tx, { plan_id: input.id, step_id: null, event, detail: null, at: input.now });
    return changed === 1;
  });
}

/** Its report was written: true for the one who may tell of it (I17). For use inside the transaction that tells. */
export function markReportedIn(tx: Tx, id: string, now: number): boolean {
  return (
    tx.run('UPDATE plans SET reported_at = :now WHERE id = :id AND reported_at IS NULL AND ended_at IS NOT NULL', {
      id,
      now,
    }) === 1
  );
}
