import type { Clock } from '../model/clock.ts';
import { DURABLE } from './durable.ts';
import { checkCommitIds } from './merge-base.ts';
import { gitPatiently } from './patient.ts';
import { gitFailed } from './run.ts';

/**
 * Keeps a commit (full id) as `refs/drover/archived/<id>`, whatever becomes of the branch; the same one may be kept again.
 * Errors: `usage` / `commit_invalid`; those of `gitPatiently`, `gitFailed`.
 */
export async function archiveCommit(wanted: {
  repo_root: string;
  /** Id of a session. */
  id: string;
  commit: string;
  clock: Clock;
}): Promise<string> {
  const { repo_root, id, commit, clock } = wanted;
  checkCommitIds(commit);
  const ref = `refs/drover/archived/${id}`;
  const args = ['update-ref', '-m', 'drover: archive', ref, commit];
  const result = await gitPatiently(args, { cwd: repo_root, settings: DURABLE }, clock);
  if (result.code !== 0) throw gitFailed(`keep the commit ${commit}`, result);
  return ref;
}
