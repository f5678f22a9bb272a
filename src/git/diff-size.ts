import { checkCommitIds, mergeBases } from './merge-base.ts';
import { gitOutput } from './run.ts';

/**
 * Lines that were added and removed from where `head` left `base` to `head` (full ids); a binary file counts as one.
 * Errors: `usage` / `commit_invalid`; `refused` / `no_common_ancestor`; `not_found` / `commit_not_found`; those of `git`.
 */
export async function changedLines(repo_root: string, base: string, head: string): Promise<number> {
  checkCommitIds(base, head);
  const [from] = await mergeBases(repo_root, base, head);
  const args = ['diff-tree', '-r', '--numstat', '--no-renames', '-z', from, head, '--'];
  const listed = await gitOutput('count what changed', args, { cwd: repo_root });
  return listed
    .split('\0')
    .filter((entry) => entry !== '')
    .reduce((sum, entry) => sum + linesOf(entry.split('\t', 2)), 0);
}

function linesOf([added = '', removed = '']: string[]): number {
  return added === '-' ? 1 : Number(added) + Number(removed);
}
