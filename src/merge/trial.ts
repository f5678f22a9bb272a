import { addScratch, removeScratch } from '../git/scratch.ts';
import { AppError } from '../model/error.ts';
import { mergeTrialDir } from '../model/merge-place.ts';
import { endProcesses, type GateVerdict, runGates } from '../session/gate.ts';
import { newCommandMarker } from '../session/identity.ts';
import { isDirectory } from '../sys/directory.ts';
import { removeTree } from '../sys/discard.ts';
import { privateDir, writePrivate } from '../sys/files.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import type { Piece } from './piece.ts';
import type { Run } from './run.ts';

/** Where the results for one target are tried; nobody else is in it, because the target is locked. */
function placeOf({ deps, repo_root, target }: Pick<Run, 'deps' | 'repo_root' | 'target'>) {
  const dir = mergeTrialDir(deps.home, repo_root, target);
  return { dir, tree: `${dir}/tree`, log: `${dir}/gate.log`, marker: `${dir}/marker` };
}

/**
 * Runs the gates on a commit, once in a call, in a checkout of its own that is gone afterwards. Throws `interrupted` (130); errors of
 * `addScratch` and `runGates`.
 */
export async function tryCommit(run: Run, commit: string): Promise<GateVerdict> {
  const known = run.verdicts.get(commit);
  const verdict = known ?? (await tryOnce(run, commit));
  run.verdicts.set(commit, verdict);
  return verdict;
}

async function tryOnce(run: Run, commit: string): Promise<GateVerdict> {
  const place = placeOf(run);
  const { deps, repo_root, gate, signal } = run;
  await sweepTrial(run);
  privateDir(place.dir);
  const marker = await newCommandMarker(deps, 'gate');
  writePrivate(place.marker, marker);
  try {
    await addScratch({ repo_root, path: place.tree, commit, clock: deps.clock });
    const verdict = await runGates(deps, { ...gate, cwd: place.tree, log: place.log, marker, signal });
    if (verdict.verdict !== 'interrupted') return verdict;
    throw new AppError('interrupted', 'interrupted', 'interrupted while a gate was running', {
      preserved: 'the target is where it was, and every branch and worktree',
    });
  } finally {
    await sweepTrial(run);
  }
}

/** Takes away what a trial left, also one whose process was killed: first what still runs there, then the checkout. */
export async function sweepTrial(run: Pick<Run, 'deps' | 'repo_root' | 'target'>): Promise<void> {
  const { deps, repo_root } = run;
  const place = placeOf(run);
  if (!isDirectory(place.dir)) return;
  const marker = readTextIfExists(place.marker)?.trim();
  if (marker) await endProcesses(deps, marker);
  await removeScratch({ repo_root, path: place.tree, clock: deps.clock });
  removeTree(place.dir);
}

/**
 * The first piece with which the gates are red, and what they said; null when all of them together are green. What comes
 * before the first red one is green: it was tried, or it is the target itself.
 */
export async function firstRed(
  run: Run,
  pieces: readonly Piece[],
): Promise<{ index: number; verdict: GateVerdict } | null> {
  const last = pieces.at(-1);
  if (run.gate.commands.length === 0 || last === undefined) return null;
  let red = await tryCommit(run, last.commit);
  if (red.verdict === 'green') return null;
  // [low] entries are green together, [high] are red.
  let low = 0;
  let high = pieces.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const commit = pieces[middle - 1]?.commit ?? last.commit;
    const verdict = await tryCommit(run, commit);
    if (verdict.verdict === 'green') low = middle;
    else {
      high = middle;
      red = verdict;
    }
  }
  return { index: high - 1, verdict: red };
}
