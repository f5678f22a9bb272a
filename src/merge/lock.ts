import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { mergeLockPath } from '../model/merge-place.ts';
import { acquirePidLock, type PidLock } from '../sys/lock.ts';

/**
 * The right to move one target branch (I21). That of a dead owner is free; different targets do not meet. It is one merge's,
 * and not its process's: a supervisor has several under way. Releasing it twice does nothing.
 * Throws `merge_running` (3) at once when it is taken.
 */
export function lockTarget(home: string, repo_root: string, target: string): PidLock {
  const path = mergeLockPath(home, repo_root, target);
  const result = acquirePidLock(path, { is_single: true });
  if (result.acquired) return result.lock;
  const owner = result.existing_pid === null ? 'another process' : `process ${result.existing_pid}`;
  throw new AppError('refused', 'merge_running', `${owner} is merging into ${target} just now (${path})`, {
    hint: 'Try again when it is done, or have --wait do that; different targets do not stand in one another’s way.',
    unsafe_condition: `two merges into ${target} would build on the same commit`,
    would_change: `the branch ${target}`,
    preserved: 'nothing was changed',
    data: { path, pid: result.existing_pid, target },
  });
}

/** Between two looks at a lock that somebody has. */
const POLL_MS = 250;

/** How long somebody else may go on merging into the same target. */
export interface Patience {
  wait_ms: number;
  /** Told once, when it begins to wait, and for what. */
  onWait: (why: string) => void;
}

/** Nobody is waited for. */
export const AT_ONCE: Patience = { wait_ms: 0, onWait: () => undefined };

/**
 * `lockTarget`, but while somebody has it, waits for its turn: whoever looks first when it is free gets it.
 * Throws `merge_running` (3) after that, `interrupted` (130) when told to stop waiting; nothing was changed then.
 */
export async function awaitTarget(
  place: { home: string; repo_root: string; target: string },
  how: Patience & { clock: Clock; signal: AbortSignal },
): Promise<PidLock> {
  const { clock, signal, wait_ms, onWait } = how;
  const until = clock.monotonic() + wait_ms;
  for (let looks = 1; ; looks += 1) {
    try {
      return lockTarget(place.home, place.repo_root, place.target);
    } catch (error) {
      const left = until - clock.monotonic();
      if (!(error instanceof AppError) || error.code !== 'merge_running' || left <= 0) throw error;
      if (looks === 1) onWait(error.message);
      await clock.sleep(Math.min(POLL_MS, left), signal);
    }
    if (!signal.aborted) continue;
    throw new AppError('interrupted', 'interrupted', `interrupted while waiting for a merge into ${place.target}`, {
      preserved: 'nothing was changed',
    });
  }
}
