import { branchHead } from './branch.ts';
import { gitOutput } from './run.ts';

/** Heads of the local branches that have commits which `target` has not, by name; none when there is no such target. */
export async function branchesAhead(repo_root: string, target: string): Promise<Map<string, string>> {
  const head = await branchHead(repo_root, target);
  if (head === null) return new Map();
  const args = ['for-each-ref', `--no-merged=${head}`, '--format=%(objectname) %(refname)', 'refs/heads/'];
  const listed = await gitOutput(`look what is not in ${target}`, args, { cwd: repo_root });
  return new Map(
    listed.split('\n').flatMap((line): [string, string][] => {
      const [id, ref] = line.split(' refs/heads/');
      return id === undefined || ref === undefined ? [] : [[ref, id]];
    }),
  );
}
