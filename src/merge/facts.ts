import { lookAtWorktree } from '../git/look.ts';
import { mergeBases } from '../git/merge-base.ts';
import { predictMerge } from '../git/merge-tree.ts';
import { diffPreview } from '../git/patch.ts';
import { type RawChange, rawChanges } from '../git/raw-changes.ts';
import { AppError } from '../model/error.ts';
import type { MergeRow } from '../model/merge.ts';
import type { Candidate, PairConflict } from '../model/merge-queue.ts';
import { isTerminal, type SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';

/** Lines of a preview: of what stands against the base, and of each of two branches (E-160). */
const BASE_PREVIEW = 18;
const PAIR_PREVIEW = 12;
const MAX_SHOWN = 5;

/** Why the queue passes an entry over that could be merged. */
export type Hold = 'policy' | 'gate' | 'conflict' | 'failed';

/** One session's branch as git sees it, with what the queue makes of it. */
export interface Known {
  row: SessionRow;
  path: string;
  target: string;
  /** Null when it could not be read. */
  head: string | null;
  hold: Hold | null;
  candidate: Candidate;
  /** Where it left the target; null when unknown, or not one place. */
  merge_base: string | null;
  /** What it has changed since. */
  changes: readonly RawChange[];
}

export interface Ground {
  repo_root: string;
  target: string;
  target_head: string;
  /** Only completed sessions are taken, and ended ones whose branch is ready as it is. */
  require_completed: boolean;
  /** Commits that were marked as ready to be merged, by branch (HC-29). */
  ready: ReadonlyMap<string, string>;
  /** How the newest attempt of a session ended that was not merged. */
  failures: ReadonlyMap<string, MergeRow>;
  /** Why a session is not tried (again) in this call, by `tryKey`. */
  passed_over: ReadonlyMap<string, PassedOver>;
}

export interface PassedOver {
  hold: Hold;
  why: string;
  /** Where the target was; only there it counts. Null: anywhere. */
  base_head: string | null;
}

/** Names one session with one head of its branch. */
export function tryKey(session_id: string, head: string): string {
  return `${session_id} ${head}`;
}

/** Everything the queue has to know about one session. Never throws for what is wrong with this one alone (E-166). */
export async function factsOf(row: SessionRow, ground: Ground): Promise<Known> {
  try {
    return await readFacts(row, ground);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return unknowable(row, ground.target, withWayOut(error));
  }
}

/** With the commands that mend it: the queue repeats this until somebody does. */
function withWayOut({ message, details: { recovery_commands: commands = [] } }: AppError): string {
  return commands.length === 0 ? message : `${message}: ${commands.join(' && ')}`;
}

function blankCandidate(row: SessionRow, base_branch: string): Candidate {
  return {
    ...{ session_id: row.id, task: row.task, project: row.project, task_group: row.task_group },
    ...{ branch: row.branch ?? '', base_branch, state: row.state, updated_at: row.updated_at },
    ...{ worktree_health: 'clear', error: null, base_conflicts: [], base_summary: '', base_preview: null },
    ...{ dirty: false, dirty_preview: null, held: null, paths: [] },
  };
}

/** An entry that cannot be looked at. */
export function unknowable(row: SessionRow, target: string, why: string): Known {
  const candidate = { ...blankCandidate(row, target), error: why };
  return {
    row,
    path: row.worktree_path ?? '',
    target,
    head: null,
    hold: null,
    candidate,
    merge_base: null,
    changes: [],
  };
}

/** The same for one that a person named: what is wrong with it is thrown. */
export async function readFacts(row: SessionRow, ground: Ground): Promise<Known> {
  const known = { row, path: row.worktree_path ?? '', target: ground.target };
  return { ...known, ...(await read(row, ground, blankCandidate(row, ground.target))) };
}

async function read(
  row: SessionRow,
  ground: Ground,
  blank: Candidate,
): Promise<Omit<Known, 'row' | 'path' | 'target'>> {
  const { repo_root, target_head, target } = ground;
  const { head, dirty } = await lookAtWorktree({ repo_root, path: row.worktree_path ?? '', branch: blank.branch });
  const bases = await mergeBases(repo_root, target_head, head);
  const candidate: Candidate = {
    ...blank,
    dirty: dirty.length > 0,
    dirty_preview: dirty.length > 0 ? dirty.slice(0, BASE_PREVIEW).join('\n') : null,
    worktree_health: dirty.length > 0 || !bases.includes(head) ? 'in_progress' : 'clear',
  };
  let changes: RawChange[] = [];
  if (!bases.includes(head) && isTerminal(row.state)) {
    changes = (await rawChanges(repo_root, [[bases[0], head]]))[0] ?? [];
    candidate.paths = changes.map(({ path }) => path);
    if (!bases.includes(target_head)) {
      const { tree, conflicts } = await predictMerge(repo_root, target_head, head);
      if (tree === null) {
        candidate.worktree_health = 'conflicted';
        candidate.base_conflicts = conflicts.map(({ path }) => path);
        candidate.base_summary = `conflicts with ${target}: ${shortList(candidate.base_conflicts)}`;
        candidate.base_preview = await preview(repo_root, bases[0], head, candidate.base_conflicts[0], BASE_PREVIEW);
      }
    }
  }
  const hold = holdOf(row, head, ground, candidate.worktree_health);
  const merge_base = bases.length === 1 ? bases[0] : null;
  return { head, hold: hold?.hold ?? null, candidate: { ...candidate, held: hold?.why ?? null }, merge_base, changes };
}

function shortList(paths: readonly string[]): string {
  return paths.slice(0, MAX_SHOWN).join(', ') + (paths.length > MAX_SHOWN ? ', …' : '');
}

async function preview(
  repo_root: string,
  from: string,
  to: string,
  path: string | undefined,
  max_lines: number,
): Promise<string | null> {
  return (await diffPreview({ repo_root, from, to, max_lines, ...(path === undefined ? {} : { path }) })) || null;
}

function holdOf(
  row: SessionRow,
  head: string,
  ground: Ground,
  health: Candidate['worktree_health'],
): { hold: Hold; why: string } | null {
  const now = ground.passed_over.get(tryKey(row.id, head));
  if (now !== undefined && (now.base_head ?? ground.target_head) === ground.target_head) return now;
  const last = ground.failures.get(row.id);
  if (last?.head === head && last.base_head === ground.target_head && last.target === ground.target) {
    // A conflict that is not there any more has been taken out of the way.
    if (last.outcome === 'gate') return { hold: 'gate', why: `its gate failed on this state (${last.reason})` };
    if (health === 'conflicted') return { hold: 'conflict', why: `${last.reason} on this state` };
  }
  if (!ground.require_completed || row.state === 'completed' || !isTerminal(row.state)) return null;
  if (row.branch !== null && ground.ready.get(row.branch) === head) return null;
  return {
    hold: 'policy',
    why: `session is ${row.state}, not completed; take it by name: drover merge ${quoted(row.name)}`,
  };
}

/** What two branches would do to each other, previews included; null when they go together. */
export async function comparePair(repo_root: string, earlier: Known, later: Known): Promise<PairConflict | null> {
  if (earlier.head === null || later.head === null) return null;
  const [first, second] = [earlier.head, later.head];
  const { tree, conflicts } = await predictMerge(repo_root, first, second);
  if (tree !== null) return null;
  const [base] = await mergeBases(repo_root, first, second);
  const paths = conflicts.map(({ path }) => path);
  const [earlier_preview, later_preview] = await Promise.all(
    [first, second].map((head) => preview(repo_root, base, head, paths[0], PAIR_PREVIEW)),
  );
  return { conflicts: paths, earlier_preview: earlier_preview ?? null, later_preview: later_preview ?? null };
}
