import { AppError } from '../model/error.ts';
import { quoted } from '../model/shell.ts';
import { fileExists } from '../sys/directory.ts';
import { branchHead } from './branch.ts';
import { checkoutOf } from './common-dir.ts';
import { operationUnderWay } from './operation.ts';
import { git, gitFailed, gitOutput } from './run.ts';

/** What one `git status` says about a session's worktree. */
export interface Seen {
  head: string;
  /** Paths with changes that are not committed; new directories count as one. */
  dirty: string[];
}

/**
 * Head and uncommitted changes of a worktree, in one call of git: a queue asks this of every entry. Changes nothing. Of one
 * whose directory somebody deleted the branch is what is left.
 * Errors, each for this worktree only: `refused` / `worktree_foreign`, `worktree_elsewhere`, `operation_in_progress`,
 * `no_commit_yet`, `branch_gone`; those of `git` and `gitFailed`.
 */
export async function lookAtWorktree(wanted: { repo_root: string; path: string; branch: string }): Promise<Seen> {
  const { repo_root, path, branch } = wanted;
  if (!fileExists(path)) return lookAtBranch(wanted);
  const checkout = checkoutOf(path);
  if (checkout?.root !== path || checkout.common_dir !== (checkoutOf(repo_root)?.common_dir ?? repo_root)) {
    throw new AppError('refused', 'worktree_foreign', `${path} is no worktree of ${repo_root} (any more)`, {
      hint: `Its link to the repository is lost; the files are as they were. Mend it: ${repairCommand(repo_root)}`,
      preserved: 'nothing was changed',
      recovery_commands: [repairCommand(repo_root)],
    });
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

/** Git's note of the deleted directory tells whether it was on its branch: commits made elsewhere are not on that. */
async function lookAtBranch({ repo_root, path, branch }: { repo_root: string; path: string; branch: string }) {
  const listed = await gitOutput('list the worktrees', ['worktree', 'list', '--porcelain', '-z'], { cwd: repo_root });
  const note = listed
    .split('\0\0')
    .map((each) => each.split('\0'))
    .find((lines) => lines.includes(`worktree ${path}`));
  if (note !== undefined && !note.includes(`branch refs/heads/${branch}`)) {
    const at = note.find((line) => line.startsWith('HEAD '))?.slice('HEAD '.length) ?? 'HEAD';
    throw new AppError('refused', 'worktree_elsewhere', `${path} is gone, and was not on its branch ${branch}`, {
      hint: `Look at ${at}, where it was, and give what is needed a branch. Then let git forget the directory.`,
      preserved: 'nothing was changed',
      recovery_commands: [
        `git -C ${quoted(repo_root)} log ${branch}..${at}`,
        `git -C ${quoted(repo_root)} worktree prune`,
      ],
    });
  }
  const head = await branchHead(repo_root, branch);
  if (head === null) throw refused('branch_gone', `${path} is gone, and its branch ${branch} as well`);
  return { head, dirty: [] };
}

/** Writes the `.git` of worktrees anew that have lost it, and changes no other file. */
export function repairCommand(repo_root: string): string {
  return `git -C ${quoted(repo_root)} worktree repair`;
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
