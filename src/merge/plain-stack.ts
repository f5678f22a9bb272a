import { identitySettings } from '../git/commit-tree.ts';
import { DURABLE } from '../git/durable.ts';
import { git, gitFailed, gitOutput } from '../git/run.ts';
import type { AppError } from '../model/error.ts';
import { type RawChange, rawChanges } from './changes.ts';
import { type Claimed, firstWrong, messageFor, type Piece } from './piece.ts';

/** A ref that never exists after the call: git writes commits in bulk to a ref only. */
const DESK = 'refs/drover/merge';

/**
 * The same merge commits as one by one, for as many of the first claims as touch nothing that another of them or the target
 * has touched since they parted: then the merge is the tree of one with the changed files of the other, and one process
 * writes them all. None when there are fewer than two. Each is held against git's own merge before it is given out.
 */
export async function plainStack(repo_root: string, from: string, claims: readonly Claimed[]): Promise<Piece[]> {
  const apart = claims.slice(0, await countApart(repo_root, from, claims));
  if (apart.length < 2) return [];
  const committer = await identity(repo_root);
  const text = apart.map((claim, at) => commitText(claim, at, from, committer)).join('');
  const stdin = `${text}reset ${DESK}\nfrom ${'0'.repeat(from.length)}\n\ndone\n`;
  const options = { cwd: repo_root, stdin, settings: DURABLE };
  const result = await git(['fast-import', '--quiet', '--done', '--force'], options);
  if (result.code !== 0) return declined(gitFailed('write merge commits', result));
  const commits = result.stdout.split('\n').filter((line) => line !== '');
  const parents = apart.map(({ head }, at) => [commits[at - 1] ?? from, head] as const);
  const trees = await mergedTrees(repo_root, parents);
  const pieces = apart.map((claim, at) => ({
    ...{ claim, ours: parents[at]?.[0] ?? from, commit: commits[at] ?? '' },
    ...{ tree: trees[at] ?? null, is_plain: true },
  }));
  const wrong = await firstWrong(repo_root, pieces);
  // Something draws more along than these rules know: git decides, one by one.
  return pieces.slice(0, wrong < 2 ? 0 : wrong);
}

/** Where bulk writing does not work git may still do it one by one; where the machine is at fault, it may not. */
function declined(error: AppError): Piece[] {
  if (error.kind !== 'failed') throw error;
  return [];
}

/** How many of the first claims are apart: no path touched twice, and something to merge in each. */
async function countApart(repo_root: string, from: string, claims: readonly Claimed[]): Promise<number> {
  const bases = [...new Set(claims.map(({ known }) => known.merge_base ?? from))].filter((base) => base !== from);
  const target = await rawChanges(
    repo_root,
    bases.map((base) => [base, from]),
  );
  const taken = new Taken();
  for (const change of target.flat()) taken.add(change);
  const at = claims.findIndex(({ known }) => {
    const isFree =
      known.merge_base !== null && known.changes.length > 0 && known.changes.every((each) => taken.isFree(each));
    for (const change of known.changes) taken.add(change);
    return !isFree;
  });
  return at < 0 ? claims.length : at;
}

/** Paths that are spoken for, and the folders they lie in. */
class Taken {
  readonly #paths = new Set<string>();
  readonly #folders = new Set<string>();

  add({ path }: RawChange): void {
    this.#paths.add(path);
    for (const folder of foldersOf(path)) this.#folders.add(folder);
  }

  isFree({ path, mode, status }: RawChange): boolean {
    if (/\ufffd/.test(path) || /(?:^|\/)\.git(?:attributes|modules)$/.test(path)) return false;
    if (status !== 'D' && !['100644', '100755', '120000'].includes(mode)) return false;
    if (this.#paths.has(path) || this.#folders.has(path)) return false;
    return !foldersOf(path).some((folder) => this.#paths.has(folder));
  }
}

function foldersOf(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('/'));
}

/** The tree that git's own merge gives for each pair; null from the first one on that it does not merge. */
async function mergedTrees(
  repo_root: string,
  pairs: readonly (readonly [ours: string, theirs: string])[],
): Promise<(string | null)[]> {
  const stdin = pairs.map(([ours, theirs]) => `${ours} ${theirs}\n`).join('');
  const args = ['merge-tree', '--write-tree', '--stdin', '-z', '--no-messages'];
  const result = await git(args, { cwd: repo_root, stdin });
  if (result.code !== 0) return pairs.map(() => null);
  // A clean one is `1`, its tree, and nothing.
  const parts = result.stdout.split('\0');
  const bad = pairs.findIndex((_, at) => parts[3 * at] !== '1' || parts[3 * at + 2] !== '');
  return pairs.map((_, at) => (bad >= 0 && at >= bad ? null : (parts[3 * at + 1] ?? null)));
}

async function identity(repo_root: string): Promise<string> {
  const settings = await identitySettings(repo_root);
  return (await gitOutput('ask who commits', ['var', 'GIT_COMMITTER_IDENT'], { cwd: repo_root, settings })).trim();
}

function commitText(claim: Claimed, at: number, from: string, committer: string): string {
  const message = messageFor(claim);
  const mark = at + 1;
  return [
    `commit ${DESK}`,
    `mark :${mark}`,
    `committer ${committer}`,
    `data ${Buffer.byteLength(message)}`,
    message,
    `from ${at === 0 ? from : `:${at}`}`,
    `merge ${claim.head}`,
    ...claim.known.changes.map(fileLine),
    '',
    `get-mark :${mark}`,
    '',
  ].join('\n');
}

function fileLine({ path, status, mode, blob }: RawChange): string {
  const name = `"${path.replace(/[\\"]/g, String.raw`\$&`).replaceAll('\n', String.raw`\n`)}"`;
  return status === 'D' ? `D ${name}` : `M ${mode} ${blob} ${name}`;
}
