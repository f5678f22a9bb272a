import { writePlainMerges } from '../git/plain-merges.ts';
import { type RawChange, rawChanges } from '../git/raw-changes.ts';
import { foldersOf } from '../model/path.ts';
import { type Claimed, messageFor, type Piece } from './piece.ts';

/**
 * The same merge commits as one by one, for as many of the first claims as touch nothing that another of them or the target
 * has touched since they parted: then the merge is the tree of one with the changed files of the other. None when there are
 * fewer than two. Each is held against git's own merge before it is given out.
 */
export async function plainStack(repo_root: string, from: string, claims: readonly Claimed[]): Promise<Piece[]> {
  const apart = claims.slice(0, await countApart(repo_root, from, claims));
  if (apart.length < 2) return [];
  const wanted = apart.map((claim) => {
    return { theirs: claim.head, message: messageFor(claim), changes: claim.known.changes };
  });
  const shapes = await writePlainMerges(repo_root, from, wanted);
  // Something draws more along than these rules know: git decides, one by one.
  if (shapes.length < 2) return [];
  return apart.slice(0, shapes.length).flatMap((claim, at) => {
    const shape = shapes[at];
    return shape === undefined
      ? []
      : { claim, ours: shape.ours, commit: shape.commit, tree: shape.tree, is_plain: true };
  });
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
