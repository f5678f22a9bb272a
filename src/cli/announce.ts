import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { ring } from '../supervisor/ensure.ts';
import { wake } from './wake.ts';

/**
 * Tells the supervisor that something was stored, so that an idle recipient's turn starts at once. For a session it
 * only rings: a supervisor started from inside would live in that session's process tree. A lost ring is harmless.
 */
export async function announce(deps: Deps, caller: Caller): Promise<void> {
  if (caller.session === null) await wake(deps);
  else await ring(deps.home);
}
