import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { mergeLockPath } from '../model/merge-place.ts';
import type { SessionRow } from '../model/session.ts';
import { quoted } from '../model/shell.ts';
import type { Deps } from '../session/deps.ts';
import { openMerges } from '../store/merge.ts';
import { acquirePidLock, type PidLock } from '../sys/lock.ts';
import { AT_ONCE, awaitTarget, type Patience } from './lock.ts';
import { reconcile } from './reconcile.ts';
import type { Run } from './run.ts';

export interface Wanted {
  deps: Deps;
  repo_root: string;
  target: string;
  /** Name of the caller. */
  by: string;
  is_clean: boolean;
  patience?: Patience;
  signal: AbortSignal;
}

/**
 * A repository that is not trusted named gates: merging without them would be what its owners wanted to prevent, and
 * running them is what the person has not allowed. Throws `repository_untrusted` (3).
 */
export function refuseUntrusted(config: Config, repo_root: string): void {
  if (!config.untrusted_keys?.includes('gate.commands')) return;
  throw new AppError('refused', 'repository_untrusted', `the project config of ${repo_root} names gates to run`, {
    hint: `Add ${repo_root} to trusted_repositories in your own config, or take gate.commands out of the project's.`,
    unsafe_condition: 'commands of a repository that you do not trust would run as you',
    would_change: 'the target would move without its gates',
    preserved: 'nothing was run or changed',
  });
}

/**
 * Works on one target while nobody else does: its lock, then what a dead merge left, then `work`.
 * Throws `merge_running`, `repository_untrusted` (3).
 */
export async function withTarget<T>(wanted: Wanted, work: (run: Run) => Promise<T>): Promise<T> {
  const { deps, repo_root, target, patience = AT_ONCE, signal } = wanted;
  const config = await deps.config_for(repo_root);
  refuseUntrusted(config, repo_root);
  const lock = await awaitTarget({ home: deps.home, repo_root, target }, { ...patience, clock: deps.clock, signal });
  try {
    const run = runOf(wanted, config, lock);
    await reconcile(run);
    await reconcileOthers(wanted);
    return await work(run);
  } finally {
    lock.release();
  }
}

/** What dead merges into other targets left would keep their sessions from being merged into this one. */
export async function reconcileOthers(wanted: Omit<Wanted, 'target'> & { target: string | null }): Promise<void> {
  const { deps, repo_root, target } = wanted;
  const config = await deps.config_for(repo_root);
  const open = await openMerges(deps.store, repo_root);
  for (const other of new Set(open.map((row) => row.target))) {
    if (other === target) continue;
    const lock = acquirePidLock(mergeLockPath(deps.home, repo_root, other), { is_single: true });
    if (!lock.acquired) continue;
    try {
      await reconcile(runOf({ ...wanted, target: other, is_clean: false }, config, lock.lock));
    } finally {
      lock.lock.release();
    }
  }
}

function runOf(wanted: Wanted, config: Config, lock: PidLock): Run {
  const { commands, timeout_ms } = config.gate;
  return {
    ...wanted,
    ...{ gate: { commands, timeout_ms }, batch: config.merge.batch, lock },
    ...{ outcomes: [], passed_over: new Map(), verdicts: new Map(), is_target_red: false },
  };
}

/** The branch a session's work is meant for. Throws `no_target` (3). */
export function targetOf(row: SessionRow, into: string | null): string {
  const target = into ?? row.base_branch;
  if (target !== null && target !== row.branch) return target;
  const why = target === null ? 'no branch is known that its work is meant for' : `${target} is its own branch`;
  throw new AppError('refused', 'no_target', `${row.name} cannot be merged: ${why}`, {
    hint: 'Name the branch to merge into.',
    preserved: 'nothing was changed',
    recovery_commands: [`drover merge ${quoted(row.name)} --into BRANCH`],
  });
}
