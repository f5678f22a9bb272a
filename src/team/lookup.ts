import { workFacts } from '../git/facts.ts';
import { findRepository, realDirectory } from '../git/repository.ts';
import { gitOutput } from '../git/run.ts';
import type { ReservationRow } from '../model/reservation.ts';
import type { Verification } from '../model/reservation-schema.ts';
import { listReservations, type ReservationQuery, type Reservations } from '../store/reservation-list.ts';
import type { Store } from '../store/store.ts';

export interface Lookup extends ReservationQuery {
  /** Only those whose checkout this is, whatever way leads there (H-46). */
  path?: string | undefined;
}

/** Reservations by exact values, and by their checkout with symbolic links resolved on both sides (H-46, H-50). */
export async function lookUpReservations(store: Store, query: Lookup, now: number): Promise<Reservations> {
  const { path, ...exact } = query;
  const found = await listReservations(store, exact, now);
  if (path === undefined) return found;
  const root = canonical(path);
  return { ...found, rows: found.rows.filter((row) => isAt(row, root)) };
}

function isAt({ path }: ReservationRow, root: string): boolean {
  return path !== null && canonical(path) === root;
}

/** The path itself where it cannot be followed. */
function canonical(path: string): string {
  return realDirectory(path) ?? path;
}

/** How the repository is: what somebody who looks at reservations has to know before trusting them (HC-02). */
export async function verify(
  cwd: string,
  rows: readonly ReservationRow[],
  dead_owners: readonly string[],
): Promise<Verification | null> {
  const repository = await findRepository(cwd);
  if (repository === null) return null;
  const { main_root, head_commit, branch, root, is_bare } = repository;
  const facts = is_bare ? null : await workFacts(root, null);
  const active = rows.filter((row) => row.status === 'active' && row.path !== null);
  const gone = active.filter(({ path }) => path !== null && realDirectory(path) === null);
  return {
    repo_root: main_root,
    head: head_commit,
    branch,
    is_detached: branch === null,
    is_dirty: (facts?.dirty.length ?? 0) > 0,
    worktree_errors: [
      ...gone.map(({ session_id, path }) => `${session_id}: its checkout ${path} does not exist`),
      ...(await brokenWorktrees(main_root)),
    ],
    dead_owners: [...dead_owners],
  };
}

async function brokenWorktrees(root: string): Promise<string[]> {
  const listing = await gitOutput('list the worktrees', ['worktree', 'list', '--porcelain', '-z'], { cwd: root });
  return listing.split('\0\0').flatMap((entry) => {
    const lines = entry.split('\0');
    const broken = lines.find((line) => line.startsWith('prunable'));
    return broken === undefined ? [] : [`${lines[0]?.replace(/^worktree /, '')}: ${broken.slice('prunable '.length)}`];
  });
}
