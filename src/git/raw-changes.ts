import { git, gitFailed } from './run.ts';

/** One path in which two commits differ, as `git diff-tree --raw` says it; renames are a deletion and an addition. */
export interface RawChange {
  /** As git has it; a byte that is no UTF-8 is U+FFFD, and then the path means nothing to git. */
  path: string;
  status: string;
  mode: string;
  blob: string;
}

/** The differences of each pair of commits (full ids), in their order, from one process. Errors: those of `gitFailed`. */
export async function rawChanges(
  repo_root: string,
  pairs: readonly (readonly [from: string, to: string])[],
): Promise<RawChange[][]> {
  if (pairs.length === 0) return [];
  const args = ['diff-tree', '--stdin', '-r', '-z', '--raw', '--no-renames', '--no-abbrev', '--full-index'];
  // Else `.gitmodules` of whatever checkout this is may hide a submodule that has moved.
  args.push('--ignore-submodules=none');
  // `<commit> <parent>` has git compare the two, and name the first before what it found.
  const stdin = pairs.map(([from, to]) => `${to} ${from}\n`).join('');
  const result = await git(args, { cwd: repo_root, stdin });
  if (result.code !== 0 || result.truncated) throw gitFailed('compare commits', result);
  const parts = result.stdout.split('\0');
  let at = 0;
  return pairs.map(([, to]) => {
    const changes: RawChange[] = [];
    // A pair without a difference is not mentioned at all.
    if (parts[at] === to) at += 1;
    else return changes;
    for (; parts[at]?.startsWith(':'); at += 2) {
      const [, mode = '', , blob = '', status = ''] = (parts[at] ?? '').split(' ');
      changes.push({ path: parts[at + 1] ?? '', status, mode, blob });
    }
    return changes;
  });
}
