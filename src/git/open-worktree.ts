import { AppError } from '../model/error.ts';
import { findRepository, type Repository, realDirectory } from './repository.ts';

/**
 * The worktree whose top is `path`. One that has lost its `.git` may lie inside another repository: that is not it.
 * Errors: `not_found` / `worktree_not_found`, `repository_not_found`; `refused` / `bare_repository`, `worktree_foreign`.
 */
export async function openWorktree(path: string): Promise<Repository> {
  const real = realDirectory(path);
  if (real === null) {
    throw new AppError('not_found', 'worktree_not_found', `there is no directory ${path}`, {
      hint: 'It was deleted or moved by hand; what was committed in it is still on its branch.',
      data: { path },
    });
  }
  const repository = await findRepository(real);
  if (repository === null) {
    throw new AppError('not_found', 'repository_not_found', `there is no git repository at ${path}`, {
      hint: 'Its .git is gone; git worktree repair, run in the repository, writes it anew.',
      data: { path },
    });
  }
  if (repository.is_bare) {
    throw new AppError('refused', 'bare_repository', `${path} is a bare repository: it has no files`, {
      hint: 'Name one of its worktrees.',
      preserved: 'nothing was changed',
    });
  }
  if (repository.root !== real) {
    throw new AppError(
      'refused',
      'worktree_foreign',
      `${path} is not the top of a worktree, it lies in ${repository.root}`,
      {
        hint: 'If its .git is gone, git worktree repair, run in the repository, writes it anew.',
        preserved: 'nothing was changed',
        data: { path, root: repository.root },
      },
    );
  }
  return repository;
}
