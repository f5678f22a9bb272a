import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import type { SessionRow } from '../model/session.ts';
import { findSession } from '../store/session.ts';
import type { Store } from '../store/store.ts';
import type { Context } from './context.ts';

/**
 * A session by id, prefix, name or `latest`; the latter two are those of the current repository, when in one. The names of
 * drover's own, the patrol and second opinions, mean them everywhere. Of several
 * that ended under one name, `only` lets the caller's verb change none: whoever reads gets the newest. Throws 4 or 2.
 */
export async function lookUp(
  context: Context,
  store: Store | null,
  wanted: string,
  ended: 'newest' | 'only' = 'only',
): Promise<SessionRow> {
  if (store === null) {
    throw new AppError('not_found', 'session_not_found', `Session not found: ${wanted}`, {
      hint: 'Nothing was ever slung here.',
    });
  }
  const desks = (['patrol', 'triage'] as const).map((role) => homePaths.desk(context.home, role));
  return findSession(store, wanted, await context.repoRoot(), { ended, desks });
}
