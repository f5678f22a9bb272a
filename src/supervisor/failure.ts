import { AppError } from '../model/error.ts';
import type { Deps } from '../session/deps.ts';
import { failSession } from '../session/end.ts';
import { getSession } from '../store/session.ts';

/** A typed failure (disk full, store busy), which may pass; null for a bug, which ends the process (ARCHITECTURE §7). */
export function passing(error: unknown): AppError | null {
  return error instanceof AppError && error.kind !== 'bug' ? error : null;
}

/** Does `work` for one session. A bug that it brings out must not meet every supervisor to come: the session ends first. */
export async function blaming<T>(deps: Deps, session_id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const row = passing(error) === null ? await getSession(deps.store, session_id) : null;
    if (row !== null) await failSession(deps, row, `internal: ${String(error)}`);
    throw error;
  }
}
