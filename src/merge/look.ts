import { checkoutOf } from '../git/common-dir.ts';
import { operationUnderWay } from '../git/operation.ts';
import { git, gitFailed } from '../git/run.ts';
import { AppError } from '../model/error.ts';

/** What one `git status` says about a session's worktree. */
export interface Seen {
  head: string;
  /** Paths with changes that are not committed; new directories count as one. */
  dirty: string[];
}

/**
 * Head and uncommitted changes of a worktree, in one call of git: a queue asks this of every entry. Changes nothing.
 * Errors, each for this worktree only: `refused` / `worktree_foreign`, `worktree_elsewhere`, `operation_in_progress`,
 * `no_commit_yet`; those of `git` and `gitFailed`.
 */
export async function lookAtWorktree(wanted: { repo_root: string; path: string; branch: string }): Promise<Seen> {
  const { repo_root, path, branch } = wanted;
  const checkout = checkoutOf(path);
  if (checkout?.root !== path || checkout.common_dir !== (checkoutOf(repo_root)?.common_dir ?? repo_root)) {
    throw refused('worktree_foreign', `${path} is no worktree of ${repo_root} (any more)`);
  }
  const operation = operationUnderWay(checkout.git_dir);
  if (operation !== null) throw refused('operation_in_progress', `a ${operation} is in progress in ${path}`);
  const args = ['status', '--porcelain=v2', '--branch', '-z', '--no-renames', '--untracked-files=normal'];
  const result = await git(args, { cwd: path });
  if (result.code !== 0) throw gitFailed(`read the status of ${path}`, result);
  const lines = result.stdout.split('\0').filter((line) => line !== '');
  const head = headerOf(lines, 'branch.oid');
  const on = headerOf(lines, 'branch.head');
  if (on !== branch) throw refused('worktree_elsewhere', `the worktree is on ${on}, not on its branch ${branch}`);
  if (head === '(initial)') throw refused('no_commit_yet', `the branch ${branch} has no commit`);
  return { head, dirty: lines.flatMap((line) => pathOf(line) ?? []) };
}

function headerOf(lines: readonly string[], name: string): string {
  const prefix = `# ${name} `;
  return lines.find((line) => line.startsWith(prefix))?.slice(prefix.length) ?? '';
}

/** Fields of one entry before its path, by the kind it begins with. */
const FIELDS: Record<string, number> = { '1': 8, u: 10, '?': 1 };

function pathOf(line: string): string | null {
  const fields = FIELDS[line[0] ?? ''];
  if (fields === undefined) return null;
  let at = 0;
  for (let i = 0; i < fields; i += 1) at = line.indexOf(' ', at) + 1;
  return line.slice(at);
}

function refused(code: string, message: string): AppError {
  return new AppError('refused', code, message, { preserved: 'nothing was changed' });
}
