import type { Clock } from '../model/clock.ts';
import { DURABLE } from './durable.ts';
import { checkCommitIds } from './merge-base.ts';
import { gitPatiently } from './patient.ts';
import { gitFailed } from './run.ts';

interface Kept {
  repo_root: string;
  /** Id of a session. */
  id: string;
  clock: Clock;
}

/** Where the commits of a branch are kept while the branch is written anew. */
export function keptRef(id: string): string {
  return `refs/drover/rebase/${id}`;
}

/** Keeps a commit (full id) under `keptRef`; one that was there goes. Errors: those of `gitPatiently`, `gitFailed`. */
export async function keepHead({ repo_root, id, clock, head }: Kept & { head: string }): Promise<void> {
  checkCommitIds(head);
  const args = ['update-ref', '-m', 'drover: rebase', keptRef(id), head];
  const result = await gitPatiently(args, { cwd: repo_root, settings: DURABLE }, clock);
  if (result.code !== 0) throw gitFailed(`keep the commit ${head}`, result);
}

/** Lets it go; does nothing when nothing is kept. Errors: those of `gitPatiently`, `gitFailed`. */
export async function dropKeptHead({ repo_root, id, clock }: Kept): Promise<void> {
  const result = await gitPatiently(['update-ref', '-d', keptRef(id)], { cwd: repo_root, settings: DURABLE }, clock);
  if (result.code !== 0) throw gitFailed(`let the commit in ${keptRef(id)} go`, result);
}
