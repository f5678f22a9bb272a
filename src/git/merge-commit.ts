import { asideFrom } from './aside.ts';
import { commitTree } from './commit-tree.ts';
import { missingOf, parseChanges } from './line-changes.ts';
import { mergeBases } from './merge-base.ts';
import { type MergePrediction, mergeTrees } from './merge-tree.ts';
import { git, gitFailed, gitOutput } from './run.ts';

type MergeOutcome =
  | { outcome: 'merged'; commit: string; tree: string }
  | { outcome: 'up_to_date' }
  | { outcome: 'conflict'; prediction: MergePrediction };

/**
 * Makes the commit that merges `theirs` into `ours` (full ids) and nothing else: no ref moves, no checkout is touched.
 * Every object is synced; that they and the ref to them survive a power loss together is seen to by who moves the ref
 * (`advanceBranch`, `forwardCheckout`). Errors: those of `predictMerge`.
 */
export async function commitMerge(wanted: {
  repo_root: string;
  ours: string;
  theirs: string;
  message: string;
}): Promise<MergeOutcome> {
  const { repo_root, ours, theirs, message } = wanted;
  const { bases, prediction } = await mergeTrees(repo_root, ours, theirs, { keep_objects: true });
  if (bases.includes(theirs)) return { outcome: 'up_to_date' };
  const { tree } = prediction;
  if (tree === null) return { outcome: 'conflict', prediction };
  const commit = await commitTree(repo_root, tree, [ours, theirs], message);
  return { outcome: 'merged', commit, tree };
}

const MAX_MISSING = 1_000;
const MAX_LINE = 1_000;
const DIFF_TIMEOUT_MS = 600_000;

export interface MissingLine {
  /** As the side calls it. */
  path: string;
  side: 'ours' | 'theirs';
  /** At most 1,000 characters of it; `(binary file)` for one without lines. */
  line: string;
}

/**
 * The lines (not blank) that either side has added since the merge base and that `merged` (a commit or tree) does not
 * have in that file; at most 1,000. What counts as missing: see `missingOf`. `truncated`: there are more, or more has
 * changed than could be looked at. Lines that differ only in bytes that are no UTF-8 count as the same.
 * Errors: those of `predictMerge`.
 */
export async function missingLines(wanted: {
  repo_root: string;
  ours: string;
  theirs: string;
  merged: string;
}): Promise<{ lines: MissingLine[]; truncated: boolean }> {
  const { repo_root, ours, theirs, merged } = wanted;
  const bases = await mergeBases(repo_root, ours, theirs);
  const trees = await treesOf(repo_root, [...bases, ours, theirs, merged]);
  const [our_tree = '', their_tree = '', merged_tree = ''] = trees.slice(bases.length);
  const pairs = [
    [our_tree, merged_tree],
    [their_tree, merged_tree],
    ...trees.slice(0, bases.length).flatMap((base) => [
      [base, our_tree],
      [base, their_tree],
    ]),
  ];
  const { changes, truncated } = await diffPairs(repo_root, pairs);
  const [ours_on = [], theirs_on = [], ...since] = changes;
  const lines: MissingLine[] = [];
  for (const side of ['ours', 'theirs'] as const) {
    const [own, other, to_merged] = side === 'ours' ? [0, 1, ours_on] : [1, 0, theirs_on];
    // Crosswise merges leave several bases: a line counts as added when it is new against each of them.
    const found = bases.map((_, i) =>
      missingOf({ since_base: since[2 * i + own] ?? [], other_since_base: since[2 * i + other] ?? [], to_merged }),
    );
    lines.push(...inAll(found).map(({ path, line }) => ({ path, side, line: line.slice(0, MAX_LINE) })));
  }
  return { lines: lines.slice(0, MAX_MISSING), truncated: truncated || lines.length > MAX_MISSING };
}

/** What every list has, as often as all of them have it. */
function inAll<T>(lists: readonly T[][]): T[] {
  const [first = [], ...others] = lists;
  return others.reduce((kept, list) => {
    const left = list.map((item) => JSON.stringify(item));
    return kept.filter((item) => {
      const at = left.indexOf(JSON.stringify(item));
      if (at >= 0) left.splice(at, 1);
      return at >= 0;
    });
  }, first);
}

async function treesOf(repo_root: string, ids: readonly string[]): Promise<string[]> {
  const args = ['rev-parse', ...ids.map((id) => `${id}^{tree}`)];
  return (await gitOutput('look up the trees', args, { cwd: repo_root })).trim().split('\n');
}

/** Before each pair of trees, git names the two. No line of a patch begins like that. */
const PAIR = /^(?=[0-9a-f]{40,64} [0-9a-f]{40,64}$)/m;

/** The differences of each pair of trees, in their order, from one process; nothing at all if they are too many. */
async function diffPairs(repo_root: string, pairs: readonly (readonly string[])[]) {
  const how = ['-r', '-M', '-l7000', '--raw', '-p', '-U0', '--histogram', '--no-abbrev', '--full-index', '--no-color'];
  const stdin = `${pairs.map((pair) => pair.join(' ')).join('\n')}\n`;
  const result = await asideFrom(repo_root, (place) =>
    git(['diff-tree', '--stdin', ...how], {
      ...place,
      stdin,
      timeout_ms: DIFF_TIMEOUT_MS,
      // What the attributes of some checkout hide from a diff (`-diff`) is looked at all the same.
      settings: [
        ['core.quotePath', 'true'],
        ['core.attributesFile', '/dev/null'],
      ],
    }),
  );
  if (result.code !== 0) throw gitFailed('compare the trees', result);
  if (result.truncated) return { changes: [], truncated: true };
  const sections = result.stdout.split(PAIR);
  const changes = sections.map((section) => parseChanges(section.slice(section.indexOf('\n') + 1)));
  return { changes, truncated: false };
}
