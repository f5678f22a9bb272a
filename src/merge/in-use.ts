import { checkoutOf } from '../git/common-dir.ts';
import { AppError, type ErrorDetails } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import { getSession } from '../store/session.ts';
import { openTurns } from '../store/turn.ts';
import { heldSlots } from '../store/worktree.ts';
import { lineage } from '../sys/ancestry.ts';
import { processesInside } from '../sys/inside.ts';
import type { Run } from './run.ts';

type Place = Pick<Run, 'deps' | 'repo_root' | 'target' | 'by'>;

/**
 * Refuses to move the files of the target's checkout under somebody who works with them: a session in the middle of a
 * turn, and in a session's worktree any process but ours and those we come from. Who asks for the merge wants just that,
 * and so do those who started it. A person's own checkout is the person's: there only sessions count.
 * Throws `target_in_use` (3).
 */
export async function refuseUsedTarget(place: Place, path: string): Promise<void> {
  const { deps, repo_root, target } = place;
  const in_turn = (await openTurns(deps.store)).map(({ session }) => session);
  const at_work = in_turn.filter((row) => worksIn(row, path));
  const asking = await whoAsks(place, in_turn);
  const others = at_work.filter(({ id }) => !asking.has(id));
  const [other] = others;
  if (other !== undefined) {
    throw inUse(place, path, `${other.name} is in the middle of a turn in ${path}, which is on ${target}`, {
      hint: 'Wait for the end of its turn, or pause it.',
      recovery_commands: [`drover wait ${quoted(other.name)}`, `drover pause ${quoted(other.name)}`],
      data: { path, target, sessions: others.map(({ id }) => id) },
    });
  }
  if (at_work.length > 0) return;
  if (!(await heldSlots(deps.store, repo_root)).some(({ slot }) => slot.path === path)) return;
  const ours = new Set(lineage());
  const pids = processesInside(path).filter((pid) => !ours.has(pid));
  if (pids.length === 0) return;
  throw inUse(place, path, `process ${pids.slice(0, 3).join(', ')} works in ${path}, which is on ${target}`, {
    hint: 'Leave the directory, or end it, and try again.',
    data: { path, target, pids },
  });
}

/** In its worktree or, without one of its own, wherever in the checkout it was started. */
function worksIn({ worktree_path, working_dir }: SessionRow, path: string): boolean {
  return worktree_path === path || (worktree_path === null && checkoutOf(working_dir)?.root === path);
}

/** The session that asks, and all above it. */
async function whoAsks({ deps, by }: Place, in_turn: readonly SessionRow[]): Promise<Set<string>> {
  const ids = new Set<string>();
  let row = in_turn.find(({ name }) => name === by) ?? null;
  while (row !== null && !ids.has(row.id)) {
    ids.add(row.id);
    row = row.parent_id === null ? null : await getSession(deps.store, row.parent_id);
  }
  return ids;
}

function inUse({ target }: Place, path: string, message: string, details: ErrorDetails): AppError {
  return new AppError('refused', 'target_in_use', message, {
    unsafe_condition: 'files would change under somebody who works with them',
    would_change: `${target} and the files of ${path}`,
    preserved: `${target}, ${path}, and every branch and worktree`,
    ...details,
  });
}
