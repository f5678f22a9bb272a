import { AppError } from '../model/error.ts';
import { COMMIT_ID } from './repository.ts';
import { git, gitFailed } from './run.ts';

/** Errors: `usage` / `commit_invalid` for anything that is not the full id of a commit: a name may mean another one soon. */
export function checkCommitIds(...ids: string[]): void {
  const wrong = ids.find((id) => !COMMIT_ID.test(id));
  if (wrong === undefined) return;
  throw new AppError('usage', 'commit_invalid', `${JSON.stringify(wrong)} is not the full id of a commit`);
}

/**
 * The best common ancestors of two commits; several after crosswise merges.
 * Errors: `refused` / `no_common_ancestor`; `not_found` / `commit_not_found`; `usage` / `commit_invalid`; those of `git`.
 */
export async function mergeBases(repo_root: string, ours: string, theirs: string): Promise<[string, ...string[]]> {
  checkCommitIds(ours, theirs);
  const result = await git(['merge-base', '--all', ours, theirs], { cwd: repo_root });
  if (/Not a valid (?:commit|object) name/.test(result.stderr)) throw commitNotFound(repo_root, result.stderr);
  const [first, ...others] = result.stdout.split('\n').filter((line) => line !== '');
  if (first !== undefined && result.code === 0) return [first, ...others];
  if (result.code !== 1) throw gitFailed('compare two commits', result);
  throw await noCommonAncestor(repo_root, ours, theirs);
}

/** Whether commit `a` is `b` or one of its ancestors. Errors: as `mergeBases`, but without a common one it is just no. */
export async function isAncestor(repo_root: string, a: string, b: string): Promise<boolean> {
  checkCommitIds(a, b);
  const result = await git(['merge-base', '--is-ancestor', a, b], { cwd: repo_root });
  if (result.code === 0 || result.code === 1) return result.code === 0;
  if (/Not a valid (?:commit|object) name/.test(result.stderr)) throw commitNotFound(repo_root, result.stderr);
  throw gitFailed('compare two commits', result);
}

function commitNotFound(repo_root: string, stderr: string): AppError {
  const id = /[0-9a-f]{40,64}/.exec(stderr)?.[0] ?? 'one of the commits';
  return new AppError('not_found', 'commit_not_found', `${repo_root} has no commit ${id}`, {
    hint: 'It may have been rewritten and collected; look with git log --all.',
    data: { commit: id },
  });
}

async function noCommonAncestor(repo_root: string, ours: string, theirs: string): Promise<AppError> {
  const shallow = await git(['rev-parse', '--is-shallow-repository'], { cwd: repo_root });
  const is_shallow = shallow.stdout.trim() === 'true';
  return new AppError('refused', 'no_common_ancestor', `${ours} and ${theirs} have no commit in common`, {
    hint: is_shallow
      ? 'The clone is shallow and its history ends too early: git fetch --unshallow.'
      : 'Unrelated histories are not merged; rebase one onto the other by hand.',
    preserved: 'nothing was changed',
    ...(is_shallow ? { recovery_commands: ['git fetch --unshallow'] } : {}),
    data: { ours, theirs, is_shallow },
  });
}
