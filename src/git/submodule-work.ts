import { join } from 'node:path';
import { fileExists, isDirectory, listFiles } from '../sys/directory.ts';
import { unseenIn } from './hidden-changes.ts';
import { lossIn } from './inside.ts';
import type { Repository } from './repository.ts';
import { gitOutput } from './run.ts';

export interface SubmoduleWork {
  /** Submodules with files in them, at any depth; paths relative to the worktree. */
  names: string[];
  /** What would be lost with one of them, and what to do, in words; null when nothing. */
  loss: string | null;
}

/**
 * What the submodules of a linked worktree hold that is nowhere else. Their histories go with the worktree: each worktree
 * has its own, which stays when a submodule is taken out of the checkout again. Changes nothing. Errors: those of `lossIn`.
 */
export async function submoduleWork(worktree: Pick<Repository, 'root' | 'git_dir'>): Promise<SubmoduleWork> {
  const { names, unseen } = await populated(worktree.root, '');
  const pathOf = (name: string) => join(worktree.root, name);
  if (unseen !== undefined)
    return { names, loss: `files in ${unseen}, a submodule that is not there; move ${pathOf(unseen)} away` };
  for (const name of names) {
    const loss = await lossIn(worktree, name);
    if (loss !== null) return { names, loss: `the submodule ${name}: ${loss}; push it, or move ${pathOf(name)} away` };
  }
  for (const dir of historiesIn(join(worktree.git_dir, 'modules'))) {
    // Its own idea of where its files are may lead nowhere.
    const options = { cwd: dir, instead: { git_dir: dir, work_tree: dir } };
    const lone = ['rev-list', '--max-count=1', '--all', '--not', '--remotes'];
    if ((await gitOutput(`look at ${dir}`, lone, options)).trim() !== '')
      return {
        names,
        loss: `a submodule's history with commits that are on no remote; push them, or move ${dir} away`,
      };
  }
  return { names, loss: null };
}

/** `unseen`: one without a repository, in which there are files nevertheless; git does not look there. */
async function populated(root: string, below: string): Promise<{ names: string[]; unseen?: string }> {
  const names: string[] = [];
  for (const link of (await unseenIn({ cwd: join(root, below) })).links) {
    const name = join(below, link);
    const path = join(root, name);
    if (!isDirectory(path)) continue;
    if (!fileExists(join(path, '.git'))) {
      if (listFiles(path).length > 0) return { names, unseen: name };
      continue;
    }
    names.push(name);
    const inner = await populated(root, name);
    names.push(...inner.names);
    if (inner.unseen !== undefined) return { names, unseen: inner.unseen };
  }
  return { names };
}

/** Names of submodules may have slashes in them, and submodules have submodules. */
function historiesIn(dir: string): string[] {
  if (!isDirectory(dir)) return [];
  return listFiles(dir).flatMap((name) => {
    const inner = join(dir, name);
    const isOne = fileExists(join(inner, 'HEAD')) && isDirectory(join(inner, 'objects'));
    return isOne ? [inner, ...historiesIn(join(inner, 'modules'))] : historiesIn(inner);
  });
}
