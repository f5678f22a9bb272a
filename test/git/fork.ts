import { plainGit } from './plain.ts';

/** Two commits on top of the first one: `ours` is checked out, `theirs` is a branch. */
export function fork(root: string, ours: () => void, theirs: () => void): { ours: string; theirs: string } {
  const commit = (work: () => void) => {
    work();
    plainGit(root, 'add', '--all', '.');
    plainGit(root, 'commit', '--quiet', '--allow-empty', '-m', 'work');
    return plainGit(root, 'rev-parse', 'HEAD');
  };
  plainGit(root, 'checkout', '--quiet', '-b', 'theirs');
  const their_commit = commit(theirs);
  plainGit(root, 'checkout', '--quiet', 'main');
  return { ours: commit(ours), theirs: their_commit };
}
