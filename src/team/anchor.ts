import { describeCommit, openRepository, type Repository, resolveCommit } from '../git/repository.ts';
import { git } from '../git/run.ts';
import { AppError } from '../model/error.ts';
import type { Anchor } from '../model/reservation.ts';
import { threadNameInvalid } from '../model/reservation-advice.ts';

/** Throws `thread_name_invalid` (2) before anything is opened (HC-04). */
export async function checkThreadName(thread: string, cwd: string): Promise<void> {
  const isOdd = thread === '' || thread === 'HEAD' || thread === '@' || thread.startsWith('-') || thread.includes('\0');
  if (isOdd || (await git(['check-ref-format', `refs/heads/${thread}`], { cwd })).code !== 0)
    throw threadNameInvalid(thread);
}

/** Throws `not_a_repository` (2). */
export async function repositoryAt(cwd: string): Promise<Repository> {
  try {
    return await openRepository(cwd);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'repository_not_found') throw error;
    throw new AppError('usage', 'not_a_repository', `Not inside a git repository: ${cwd}`, {
      hint: 'Go into one, or name it with --project.',
      preserved: 'nothing was changed',
    });
  }
}

/**
 * The commit that was asked for, HEAD when nothing was (HC-05). Throws `anchor_not_found` (4), `no_head` (3).
 */
export async function resolveAnchor({ root, head_commit }: Repository, spec: string | undefined): Promise<Anchor> {
  const commit = spec === undefined ? head_commit : await resolveCommit(root, spec);
  if (commit === null) throw spec === undefined ? noHead() : anchorNotFound(spec);
  return describeCommit(root, commit);
}

function noHead(): AppError {
  return new AppError('refused', 'no_head', 'repository has no HEAD state to reserve from', {
    hint: 'Make a first commit, or name a commit with --anchor.',
    unsafe_condition: 'the repository has no commit yet',
    would_change: 'there is nothing that work on the thread could start from',
    preserved: 'no thread refs or reservation records were changed',
    recovery_commands: ['git commit --allow-empty -m start'],
  });
}

function anchorNotFound(spec: string): AppError {
  return new AppError('not_found', 'anchor_not_found', `anchor state '${spec}' not found`, {
    hint: 'Name a branch, a tag or a commit of this repository; without --anchor it is HEAD.',
    unsafe_condition: `nothing in this repository is called ${JSON.stringify(spec)}`,
    would_change: 'work on the thread would start from an unknown place',
    preserved: 'no thread refs or reservation records were changed',
    recovery_commands: ['git log --oneline -n 5'],
  });
}
