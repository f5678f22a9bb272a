import { AppError } from '../model/error.ts';
import { quoted } from '../model/shell.ts';
import { fileExists } from '../sys/directory.ts';
import { branchHead } from './branch.ts';
import { checkoutOf } from './common-dir.ts';
import { type Operation, operationUnderWay } from './operation.ts';
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
  if (operation !== null) throw underWay(path, operation);
  const args = ['status', '--porcelain=v2', '--branch', '-z', '--no-renames', '--untracked-files=normal'];
  const result = await git(args, { cwd: path });
  if (result.code !== 0) throw gitFailed(`read the status of ${path}`, result);
  const lines = result.stdout.split('\0').filter((line) => line !== '');
  const head = headerOf(lines, 'branch.oid');
  const on = headerOf(lines, 'branch.head');
  if (on !== branch) throw await elsewhere(wanted, { on, head });
  if (head === '(initial)')
    throw refused('no_commit_yet', `the branch ${branch} of ${path} has no commit`, {
      hint: 'Commit there what is to be merged, or let the worktree go: drover worktree clean.',
      recovery_commands: [`git -C ${quoted(path)} status`],
    });
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
  if (head !== null) return { head, dirty: [] };
  throw refused('branch_gone', `${path} is gone, and its branch ${branch} as well`, {
    hint: `Nothing is left to be merged. If its commits are needed, look for the last one and give it the branch again: git -C ${quoted(repo_root)} branch ${quoted(branch)} COMMIT. Else let it go: drover worktree clean.`,
    recovery_commands: [`git -C ${quoted(repo_root)} fsck --no-reflogs --lost-found`],
  });
}

/** Somebody changed to another branch, or to none, or gave the branch another name. The way back loses no commit. */
async function elsewhere(
  { repo_root, path, branch }: Parameters<typeof lookAtWorktree>[0],
  { on, head }: { on: string; head: string },
): Promise<AppError> {
  const at = `git -C ${quoted(path)}`;
  if (on !== DETACHED && (await branchHead(repo_root, branch)) === null)
    return refused('worktree_elsewhere', `the worktree ${path} is on ${on}; its branch ${branch} is gone`, {
      hint: `If ${on} is what it is called now, give it its name back.`,
      recovery_commands: [`${at} branch -m ${quoted(on)} ${quoted(branch)}`],
    });
  const work = on === DETACHED ? head : on;
  const where = on === DETACHED ? `on no branch, at ${head.slice(0, 12)}` : `on ${on}`;
  return refused('worktree_elsewhere', `the worktree ${path} is ${where}, not on its branch ${branch}`, {
    hint: `Go back to its branch, and take along what was committed since.`,
    recovery_commands: [`${at} switch ${quoted(branch)}`, `${at} merge ${quoted(work)}`],
  });
}

/** What git says instead of a branch's name when HEAD is on none. */
const DETACHED = '(detached)';

function underWay(path: string, operation: Operation): AppError {
  const at = `git -C ${quoted(path)}`;
  const back = operation === 'bisect' ? `${at} bisect reset` : `${at} ${operation} --abort`;
  return refused('operation_in_progress', `a ${operation} is in progress in ${path}`, {
    hint: `Finish it there, or take it back.`,
    recovery_commands: [`${at} status`, back],
  });
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

function refused(code: string, message: string, way_out: { hint: string; recovery_commands: string[] }): AppError {
  return new AppError('refused', code, message, { ...way_out, preserved: 'nothing was changed' });
}
