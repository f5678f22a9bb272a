import { AppError } from '../model/error.ts';
import { identitySettings } from './commit-tree.ts';
import { DURABLE } from './durable.ts';
import { firstWrong, type MergeShape } from './merge-shape.ts';
import { mergedTrees } from './merge-tree.ts';
import type { RawChange } from './raw-changes.ts';
import { git, gitFailed, gitOutput } from './run.ts';

/** A ref that never exists after the call: git writes commits in bulk to a ref only. */
export const DESK = 'refs/drover/merge';

/** A branch to be merged that touches nothing that is touched by the one it is merged into, nor `.gitattributes`. */
export interface PlainMerge {
  /** Full id. */
  theirs: string;
  message: string;
  /** What it has changed since the merge base; every path UTF-8, every mode a file's or a link's. */
  changes: readonly RawChange[];
}

/**
 * Merge commits one on top of the other, the first on `from` (full id): each is the tree of its first parent with the
 * changed files of the second. One process writes them all, synced; no ref moves. Only as many come back, from the first on,
 * as are what git's own merge gives; the rest stays behind unnamed. None where writing in bulk does not work: it may still
 * work one by one. Errors: `unavailable` and `refused` ones of `gitFailed`: the machine is at fault.
 */
export async function writePlainMerges(
  repo_root: string,
  from: string,
  merges: readonly PlainMerge[],
): Promise<MergeShape[]> {
  try {
    const commits = await writeAll(repo_root, from, merges);
    const pairs = merges.map(({ theirs }, at) => [commits[at - 1] ?? from, theirs] as const);
    const trees = await mergedTrees(repo_root, from, pairs);
    const shapes = pairs.map(([ours, theirs], at) => {
      return { commit: commits[at] ?? '', tree: trees[at] ?? null, ours, theirs };
    });
    return shapes.slice(0, await firstWrong(repo_root, shapes));
  } catch (error) {
    if (error instanceof AppError && error.kind === 'failed') return [];
    throw error;
  }
}

async function writeAll(repo_root: string, from: string, merges: readonly PlainMerge[]): Promise<string[]> {
  const settings = await identitySettings(repo_root);
  const who = await gitOutput('ask who commits', ['var', 'GIT_COMMITTER_IDENT'], { cwd: repo_root, settings });
  const text = merges.map((merge, at) => commitText(merge, at, from, who.trim())).join('');
  const stdin = `${text}reset ${DESK}\nfrom ${'0'.repeat(from.length)}\n\ndone\n`;
  const options = { cwd: repo_root, stdin, settings: DURABLE };
  const result = await git(['fast-import', '--quiet', '--done', '--force'], options);
  if (result.code !== 0) throw gitFailed('write merge commits', result);
  return result.stdout.split('\n').filter((line) => line !== '');
}

function commitText({ theirs, message, changes }: PlainMerge, at: number, from: string, committer: string): string {
  const mark = at + 1;
  return [
    `commit ${DESK}`,
    `mark :${mark}`,
    `committer ${committer}`,
    `data ${Buffer.byteLength(message)}`,
    message,
    `from ${at === 0 ? from : `:${at}`}`,
    `merge ${theirs}`,
    ...changes.map(fileLine),
    '',
    `get-mark :${mark}`,
    '',
  ].join('\n');
}

function fileLine({ path, status, mode, blob }: RawChange): string {
  const name = `"${path.replace(/[\\"]/g, String.raw`\$&`).replaceAll('\n', String.raw`\n`)}"`;
  return status === 'D' ? `D ${name}` : `M ${mode} ${blob} ${name}`;
}
