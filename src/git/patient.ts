import type { Clock } from '../model/clock.ts';
import { type GitOptions, type GitResult, git } from './run.ts';

export const MAX_ATTEMPTS = 8;
const FIRST_DELAY_MS = 20;

/**
 * What another git process causes: a lock that it holds, not one that cannot be made for want of room or rights; the last
 * one by reading a worktree that is just being made.
 */
const CONTENTION =
  /unable to create '.*\.lock': File exists|could not lock config file .*: File exists|failed to read .*worktrees\/[^/]*\/commondir/is;

export function isContention({ stderr }: GitResult): boolean {
  return CONTENTION.test(stderr);
}

/** Git, again while another git is in the way, at most 8 times. For commands that do all or nothing. */
export async function gitPatiently(args: readonly string[], options: GitOptions, clock: Clock): Promise<GitResult> {
  for (let attempt = 1; ; attempt += 1) {
    const result = await git(args, options);
    if (result.code === 0 || attempt === MAX_ATTEMPTS || !isContention(result)) return result;
    await clock.sleep(pause(attempt));
  }
}

/** Doubles, give or take a half, so that those who collided once do not do it again. Milliseconds. */
export function pause(attempt: number): number {
  return FIRST_DELAY_MS * 2 ** (attempt - 1) * (0.5 + Math.random());
}
