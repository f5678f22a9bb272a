import type { Deps } from '../session/deps.ts';
import { ensureSupervisor } from '../supervisor/ensure.ts';

/** Rings the supervisor, starting it when needed. What was stored before is safe whatever happens here. */
export async function wake(deps: Deps): Promise<void> {
  await ensureSupervisor(deps);
}
