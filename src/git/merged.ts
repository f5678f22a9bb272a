import { AppError } from '../model/error.ts';
import { COMMIT_ID } from './repository.ts';
import { type GitResult, git, gitFailed, gitOutput } from './run.ts';

/**
 * Whether all commits of `head` are on another local branch, a remote's branch or a tag: then the branch `branch` (null:
 * detached) may go without anything being lost.
 */
export async function isKeptElsewhere(cwd: string, head: string, branch: string | null): Promise<boolean> {
  const others = [...(branch === null ? [] : [`--exclude=${branch}`]), '--branches', '--remotes', '--tags'];
  const args = ['rev-list', '--max-count=1', head, '--not', ...others];
  return (await gitOutput(`look where ${head} is kept`, args, { cwd })).trim() === '';
}

/**
 * Deletes a branch that no worktree has checked out and whose commits are kept elsewhere; false when there is none.
 * Throws `branch_unmerged`, `branch_in_use` (3), `git_failed`.
 */
export async function removeMergedBranch(repo_root: string, branch: string): Promise<boolean> {
  const ref = `refs/heads/${branch}`;
  const args = ['for-each-ref', '--format=%(refname) %(objectname) %(worktreepath)', '--', ref];
  const listed = await gitOutput(`look for the branch ${branch}`, args, { cwd: repo_root });
  const line = listed.split('\n').find((each) => each.startsWith(`${ref} `));
  const [head = '', ...where] = line?.slice(ref.length + 1).split(' ') ?? [];
  if (!COMMIT_ID.test(head)) return false;
  if (where.join(' ') !== '') throw refused('branch_in_use', `the branch ${branch} is checked out in a worktree`);
  for (let attempt = 1; ; attempt += 1) {
    const keeper = await keeperOf(repo_root, head, ref);
    if (keeper === null) throw refused('branch_unmerged', `the branch ${branch} has commits that are nowhere else`);
    const deleted = await deleteKept(repo_root, { ref, head }, keeper);
    if (deleted.code === 0) return true;
    // The other one may be on its way out itself: then it is judged anew, with what is left.
    const hasMoved = !(await stillThere(repo_root, keeper));
    if (!hasMoved || attempt === MAX_ATTEMPTS) throw gitFailed(`delete the branch ${branch}`, deleted);
  }
}

const MAX_ATTEMPTS = 8;

interface Ref {
  ref: string;
  /** What it names itself: of a tag that may be no commit. */
  head: string;
}

/** One ref that has all commits of `head`, other than `but`; null when there is none. */
async function keeperOf(repo_root: string, head: string, but: string): Promise<Ref | null> {
  const format = '--format=%(refname) %(objectname) %(symref)';
  const args = ['for-each-ref', format, `--contains=${head}`, '--', 'refs/heads', 'refs/remotes', 'refs/tags'];
  const listed = await gitOutput(`look where ${head} is kept`, args, { cwd: repo_root });
  for (const line of listed.split('\n')) {
    const [ref = '', object = '', symref] = line.split(' ');
    if (ref !== but && symref === '') return { ref, head: object };
  }
  return null;
}

/**
 * In one step, and only while both are where they were when they were judged: two calls at once could otherwise each
 * delete what the other one counts on. Locked in the order of their names, so that nobody waits in a circle.
 */
function deleteKept(repo_root: string, branch: Ref, keeper: Ref): Promise<GitResult> {
  const lines = [
    { ref: branch.ref, line: `delete ${branch.ref} ${branch.head}` },
    { ref: keeper.ref, line: `verify ${keeper.ref} ${keeper.head}` },
  ].sort((a, b) => (a.ref < b.ref ? -1 : 1));
  const stdin = ['start', ...lines.map(({ line }) => line), 'prepare', 'commit', ''].join('\n');
  const settings = [
    ['core.filesRefLockTimeout', '5000'],
    ['core.packedRefsTimeout', '5000'],
  ] as const;
  return git(['update-ref', '--no-deref', '--stdin'], { cwd: repo_root, stdin, settings });
}

async function stillThere(repo_root: string, { ref, head }: Ref): Promise<boolean> {
  const args = ['for-each-ref', '--format=%(refname) %(objectname)', '--', ref];
  const listed = await gitOutput(`look for ${ref}`, args, { cwd: repo_root });
  return listed.split('\n').includes(`${ref} ${head}`);
}

function refused(code: string, message: string): AppError {
  return new AppError('refused', code, message, { preserved: 'the branch is untouched' });
}
