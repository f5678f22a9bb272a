import { AppError } from '../model/error.ts';
import type { Allowance } from '../model/plan.ts';
import type { Actor, SessionRow } from '../model/session.ts';
import { boundOf, readBudget, setBudgetIn } from './budget.ts';
import { appendEvent } from './event.ts';
import { refuseHalted } from './halted.ts';
import { inheritMail, insertMail, type MailDraft } from './mail.ts';
import { handOverStepIn } from './plan-reopen.ts';
import { refuseWhileRebased } from './rebase-claim.ts';
import type { OwnerProbe } from './reservation.ts';
import { NOBODY_KNOWS, reserveBranch } from './reservation-session.ts';
import { ensureRun } from './run.ts';
import type { Params, Store, Tx } from './store.ts';

/** Columns of a new session; the rest have defaults. */
export type NewSession = Pick<
  SessionRow,
  | 'id'
  | 'name'
  | 'role'
  | 'harness'
  | 'task'
  | 'project'
  | 'task_group'
  | 'profile_name'
  | 'profile_json'
  | 'model'
  | 'repo_root'
  | 'working_dir'
  | 'branch'
  | 'base_ref'
  | 'base_branch'
  | 'parent_id'
  | 'depth'
  | 'run_id'
  | 'is_persistent'
  | 'recovered_from'
  | 'native_session_id'
  | 'worktree_path'
  | 'max_turns'
  | 'timeout_ms'
  | 'prompt_version'
  | 'pool'
> &
  Partial<Pick<SessionRow, 'gate_json'>>;

const NEW_COLUMNS: readonly (keyof NewSession)[] = [
  'id',
  'name',
  'role',
  'harness',
  'task',
  'project',
  'task_group',
  'profile_name',
  'profile_json',
  'model',
  'repo_root',
  'working_dir',
  'branch',
  'base_ref',
  'base_branch',
  'parent_id',
  'depth',
  'run_id',
  'is_persistent',
  'recovered_from',
  'native_session_id',
  'worktree_path',
  'max_turns',
  'timeout_ms',
  'prompt_version',
  'pool',
  'gate_json',
];

export interface SlingLimits {
  max_children: number;
}

/**
 * Stores a session as `queued` with its brief as first mail, in one transaction (E-008, ARCHITECTURE §5 sling).
 *
 * A taken `name` of a live session gets `-2`, `-3` … unless the person chose it (`name_taken`); an id that exists is
 * generated again (H-05). Throws `halted` (3, unless a person slings), `name_taken`, `parent_ended`, `too_many_children`, for a successor also `taken_over`,
 * `turn_still_ending` and `live_owner` (all 3), and for a run what `ensureRun` throws.
 */
export async function insertSession(store: Store, input: Sling): Promise<SessionRow> {
  return store.write((tx) => insertSessionIn(tx, input, 'cli'));
}

export interface Sling {
  draft: NewSession;
  brief: Omit<MailDraft, 'to_id' | 'to_name'>;
  /** What it may spend; null: no bound of its own. */
  budget?: Allowance | null;
  /** Name or id of a run; it wins over the draft's. */
  run?: string | undefined;
  is_name_chosen: boolean;
  limits: SlingLimits;
  new_id: () => string;
  /** Of a successor: whether who has its branch by now still lives; without it nobody knows. */
  probe?: OwnerProbe;
  now: number;
}

/** The same inside another transaction. */
export function insertSessionIn(tx: Tx, input: Sling, actor: Actor): SessionRow {
  // While everything is halted only a person's own word starts anything.
  if (actor !== 'cli' || input.brief.from_id !== null) refuseHalted(tx, 'nothing was stored');
  if (input.draft.parent_id !== null) checkParent(tx, input.draft.parent_id, input.limits);
  if (input.draft.recovered_from !== null) checkSuccession(tx, input.draft.recovered_from, input.draft.worktree_path);
  const name = freeName(tx, input.draft.name, input.is_name_chosen);
  const run_id = input.run === undefined ? input.draft.run_id : ensureRun(tx, input.run, input.now);
  let row: SessionRow | null = null;
  for (let id = input.draft.id; row === null; id = input.new_id()) {
    row = tx.get<SessionRow>(
      `INSERT INTO sessions (${NEW_COLUMNS.join(', ')}, state, created_at, updated_at)
         VALUES (${NEW_COLUMNS.map((column) => `:${column}`).join(', ')}, 'queued', :now, :now)
         ON CONFLICT (id) DO NOTHING RETURNING *`,
      { ...pick(input.draft), id, name, run_id, now: input.now },
    );
  }
  tx.run(
    `INSERT INTO state_log (session_id, from_state, to_state, event, actor, reason, turn, at)
       VALUES (:id, NULL, 'queued', 'sling', :actor, NULL, 0, :now)`,
    { id: row.id, actor, now: input.now },
  );
  insertMail(tx, { ...input.brief, to_id: row.id, to_name: row.name }, input.now);
  const allowance = input.budget ?? inheritedAllowance(tx, row.recovered_from);
  if (allowance !== null) setBudgetIn(tx, { scope: 'session', key: row.id, ...allowance, now: input.now });
  if (row.recovered_from !== null) inheritMail(tx, row.recovered_from, row);
  if (row.worktree_path !== null) holdSlot(tx, row);
  if (row.recovered_from !== null) reserveBranch(tx, row, { probe: input.probe ?? NOBODY_KNOWS, now: input.now });
  if (row.recovered_from !== null) {
    const by_person = input.brief.from_id === null;
    handOverStepIn(tx, { from_id: row.recovered_from, heir: row, by_person, now: input.now });
  }
  appendEvent(tx, {
    session_id: row.id,
    turn: null,
    type: 'sling',
    data: { harness: row.harness, role: row.role },
    at: input.now,
  });
  return row;
}

/** What a successor may spend: as much as the session before might, counted anew. */
function inheritedAllowance(tx: Tx, recovered_from: string | null): Allowance | null {
  const bound = recovered_from === null ? null : readBudget(tx, { scope: 'session', key: recovered_from });
  return bound === null ? null : boundOf(bound);
}

/** A worktree has one slot, whoever works in it now: a successor takes over that of the session before, and so back. */
export function holdSlot(tx: Tx, row: SessionRow): void {
  tx.run(
    `INSERT INTO worktrees (path, session_id, repo_root, branch, base_commit, claimed_at, created_at)
     SELECT worktree_path, id, repo_root, coalesce(branch, ''), coalesce(base_commit, base_ref, ''), created_at, created_at
     FROM sessions WHERE id = :id AND worktree_path IS NOT NULL
     ON CONFLICT (path) DO UPDATE SET session_id = excluded.session_id`,
    { id: row.id },
  );
}

function pick(draft: NewSession): Params {
  return Object.fromEntries(NEW_COLUMNS.map((column) => [column, draft[column] ?? null]));
}

function checkParent(tx: Tx, parent_id: string, limits: SlingLimits): void {
  const parent = tx.get<{ ended_at: number | null; name: string }>(
    'SELECT ended_at, name FROM sessions WHERE id = :parent_id',
    { parent_id },
  );
  if (parent === null || parent.ended_at !== null) {
    throw new AppError('refused', 'parent_ended', `The parent session ${parent?.name ?? parent_id} has ended.`, {
      hint: 'Resume the parent first, or sling without --parent.',
      preserved: 'nothing was stored',
    });
  }
  const children = tx.get<{ n: number }>(
    'SELECT count(*) AS n FROM sessions WHERE parent_id = :parent_id AND ended_at IS NULL',
    { parent_id },
  );
  if ((children?.n ?? 0) >= limits.max_children) {
    throw new AppError('refused', 'too_many_children', `${parent.name} already has ${children?.n} live children.`, {
      hint: 'Wait for one to end, or raise max_children in the config.',
      preserved: 'nothing was stored',
    });
  }
}

/**
 * One owner per worktree and conversation (ARCHITECTURE §1): nobody takes up the work of an ended session while another
 * has it, or while its last processes are not proven gone, or its branch is written anew. Throws `taken_over`,
 * `turn_still_ending`, `rebase_under_way` (3).
 */
export function checkSuccession(tx: Tx, ended_id: string, worktree_path: string | null): void {
  const open = tx.get('SELECT 1 FROM turns WHERE session_id = :ended_id AND ended_at IS NULL', { ended_id });
  if (open !== null) {
    throw new AppError('refused', 'turn_still_ending', 'The last turn of this session is still being ended.', {
      hint: 'Try again in a moment.',
      preserved: 'nothing was changed',
    });
  }
  refuseWhileRebased(tx, ended_id, worktree_path);
  const owner = tx.get<{ name: string; id: string }>(
    `SELECT name, id FROM sessions
     WHERE ended_at IS NULL AND id <> :ended_id AND (recovered_from = :ended_id OR worktree_path = :worktree_path) LIMIT 1`,
    { ended_id, worktree_path },
  );
  if (owner === null) return;
  throw new AppError('refused', 'taken_over', `${owner.name} (${owner.id}) has taken over this work and is at it.`, {
    hint: 'Write to that session, or stop it first.',
    preserved: 'nothing was changed',
    recovery_commands: [`drover show ${owner.name}`],
  });
}

function freeName(tx: Tx, wanted: string, isChosen: boolean): string {
  const taken = (name: string) =>
    tx.get('SELECT 1 FROM sessions WHERE name = :name AND ended_at IS NULL', { name }) !== null;
  if (!taken(wanted)) return wanted;
  if (isChosen) {
    throw new AppError('refused', 'name_taken', `A live session is already called ${wanted}.`, {
      hint: 'Choose another --name, or stop that session first.',
      preserved: 'nothing was stored',
      recovery_commands: [`drover show ${wanted}`],
    });
  }
  for (let n = 2; ; n++) if (!taken(`${wanted}-${n}`)) return `${wanted}-${n}`;
}
