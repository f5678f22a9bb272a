import { createHash } from 'node:crypto';
import { workFacts } from '../git/facts.ts';
import { AppError } from '../model/error.ts';

/** Changes whenever HEAD or the status of a worktree does; null outside of one, or when git cannot tell. */
export async function workMark(dir: string): Promise<string | null> {
  try {
    const facts = await workFacts(dir, null);
    if (facts === null) return null;
    return createHash('sha256')
      .update(JSON.stringify([facts.head, facts.branch, facts.dirty]))
      .digest('hex');
  } catch (error) {
    if (error instanceof AppError && error.kind !== 'bug') return null;
    throw error;
  }
}
