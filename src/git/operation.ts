import { statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, systemError } from '../sys/errno.ts';

export type Operation = 'merge' | 'rebase' | 'cherry-pick' | 'revert' | 'bisect';

/** By what each keeps in the worktree's own git directory; a rebase first, because it cherry-picks. */
const TRACES: readonly [file: string, operation: Operation][] = [
  ['rebase-merge', 'rebase'],
  ['rebase-apply', 'rebase'],
  ['MERGE_HEAD', 'merge'],
  ['CHERRY_PICK_HEAD', 'cherry-pick'],
  ['REVERT_HEAD', 'revert'],
  ['sequencer', 'cherry-pick'],
  ['BISECT_LOG', 'bisect'],
];

/** What somebody is in the middle of, in the worktree with this git directory; null when nothing is. */
export function operationUnderWay(git_dir: string): Operation | null {
  return TRACES.find(([file]) => isThere(join(git_dir, file)))?.[1] ?? null;
}

/** Whether another git holds the index of this worktree right now, or died doing it. */
export function isIndexLocked(git_dir: string): boolean {
  return isThere(join(git_dir, 'index.lock'));
}

function isThere(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return false;
    throw systemError(error, `look at ${path}`);
  }
}
