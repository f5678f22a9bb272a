import { AppError } from '../model/error.ts';
import type { Capability } from '../model/role.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import { familyOf } from '../store/family.ts';
import type { Deps } from './deps.ts';
import type { Caller } from './identity.ts';
import { ownDesks } from './own-desks.ts';
import { loadRole } from './roles.ts';

/** Whom a caller may do something to. */
export type Reach = (row: Pick<SessionRow, 'id' | 'run_id' | 'repo_root'>) => boolean;

const EVERYBODY: Reach = () => true;

/**
 * How far a right of the caller's role goes (docs/adr/0024). A person reaches everybody, and so does who looks after the
 * others for drover itself. A session reaches whom it started, and they in turn; one of a persistent role also its run, and
 * nudges whoever works in its repository; one whose contract is to merge what its parent started, or without a parent what
 * is in its repository. Nobody reaches itself.
 */
export async function reachOf(deps: Deps, { session }: Caller, right: Capability): Promise<Reach> {
  if (session === null || ownDesks(deps.home).includes(session.repo_root)) return EVERYBODY;
  const { id, parent_id, run_id, repo_root, is_persistent } = session;
  const isMerger = right === 'merge' && loadRole(deps, session.role).terminal_mail.includes('merged');
  const { own, below } = await familyOf(deps.store, id);
  const team = isMerger && parent_id !== null ? (await familyOf(deps.store, parent_id)).below : below;
  const isWide = (isMerger && parent_id === null) || (right === 'nudge' && is_persistent === 1);
  return (row) =>
    !own.has(row.id) &&
    (below.has(row.id) ||
      team.has(row.id) ||
      (is_persistent === 1 && run_id !== null && row.run_id === run_id) ||
      (isWide && row.repo_root === repo_root));
}

/** Throws `out_of_reach` (3), before anything is done, when one of them is not the caller's to `right`. */
export async function demandReach(
  deps: Deps,
  caller: Caller,
  right: Capability,
  rows: readonly SessionRow[],
): Promise<void> {
  const reach = await reachOf(deps, caller, right);
  const far = rows.filter((row) => !reach(row));
  if (far.length > 0) throw outOfReach(caller, far);
}

/** The same for a recovery: nothing but its own children, whose successors become its children (`recover`). */
export async function demandOwnChildren(deps: Deps, caller: Caller, rows: readonly SessionRow[]): Promise<void> {
  if (caller.session === null) return;
  const { own } = await familyOf(deps.store, caller.session.id);
  const far = rows.filter(({ parent_id }) => parent_id === null || !own.has(parent_id));
  if (far.length > 0) throw outOfReach(caller, far);
}

function outOfReach(caller: Caller, far: readonly SessionRow[]): AppError {
  const names = far.map(({ name }) => name).join(', ');
  return new AppError('refused', 'out_of_reach', `${caller.name} has no say over ${names}: it did not start them.`, {
    hint: 'A session acts on those that it started. For any other ask the operator, or whoever started it, by mail.',
    preserved: 'nothing was changed',
    recovery_commands: [`drover ask ${quoted(`Please look at ${names}: `)}`],
    data: { session_ids: far.map(({ id }) => id) },
  });
}

/** Throws `out_of_reach` (3): a session starts others where it works itself, and nowhere else. */
export function demandHere({ session, name }: Caller, repo_root: string): void {
  if (session === null || session.repo_root === repo_root) return;
  throw new AppError('refused', 'out_of_reach', `${name} works in ${session.repo_root} and not in ${repo_root}.`, {
    hint: 'A session acts in its own repository. For another one ask the operator, or a session there, by mail.',
    preserved: 'nothing was changed',
    recovery_commands: [`drover ask ${quoted(`Please see to this in ${repo_root}: `)}`],
  });
}

/** Throws `out_of_reach` (3) for a session that names nobody: what is everybody's is not for one of them to tidy. */
export function demandNames({ session }: Caller, wanted: readonly string[]): void {
  if (session === null || wanted.length > 0) return;
  throw new AppError('refused', 'out_of_reach', 'A session has to name whom it means.', {
    hint: 'Name sessions that you started; the rest is for a person.',
    preserved: 'nothing was changed',
    recovery_commands: ['drover status'],
  });
}
