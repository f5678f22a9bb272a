import { archiveBranch, diffSize } from '../session/branch-work.ts';
import type { Deps } from '../session/deps.ts';
import { markArchived, noteDiff, sessionsToArchive } from '../store/plan-step.ts';
import { getSession } from '../store/session.ts';
import { type PlanMemory, refusalOf } from './scene.ts';

/** Counts what one of several attempts has changed; one that cannot be counted comes last. Throws what passes by itself. */
export async function countAttempt(deps: Deps, session_id: string, memory: PlanMemory): Promise<void> {
  const row = await getSession(deps.store, session_id);
  let lines: number | null = null;
  try {
    lines = row === null ? null : await diffSize(row);
  } catch (error) {
    if (refusalOf(error) === null) throw error;
  }
  if (lines === null) memory.uncounted.add(session_id);
  else await noteDiff(deps.store, session_id, lines);
}

/**
 * Puts the branches of attempts that were not taken away under a ref of drover's; nothing is deleted. Returns lines for the
 * log. Throws what passes by itself.
 */
export async function archiveAttempts(deps: Deps): Promise<string[]> {
  const lines: string[] = [];
  for (const { session_id, step_id } of await sessionsToArchive(deps.store)) {
    const row = await getSession(deps.store, session_id);
    if (row === null || row.ended_at === null) continue;
    try {
      const ref = await archiveBranch(deps, row);
      if (ref !== null) lines.push(`${step_id}: the branch of ${row.name} is kept as ${ref}`);
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      // Its branch stays where it is: to try for ever would keep nothing better.
      lines.push(`${step_id}: the branch of ${row.name} stays ${row.branch}: ${refusal.message}`);
    }
    await markArchived(deps.store, session_id, deps.clock.now());
  }
  return lines;
}
