import { findHarness } from '../harness/registry.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import type { Deps } from './deps.ts';
import { loadRole } from './roles.ts';

/** What a session's harness and role mean for whoever watches it. */
export interface Traits {
  early_first_event: boolean;
  /** It can go on with a conversation in a new process. */
  can_resume: boolean;
  is_persistent: boolean;
}

/** Throws nothing: a harness or a role that has left the settings counts as one without talents. */
export function traitsOf(
  deps: Pick<Deps, 'package_dir' | 'env'>,
  session: Pick<SessionRow, 'harness' | 'role'>,
  config: Config,
): Traits {
  const bits = known(() => findHarness(session.harness, config.harness_runners).bits);
  const role = known(() => loadRole(deps, session.role));
  return {
    early_first_event: bits?.early_first_event ?? false,
    can_resume: bits?.resume ?? false,
    is_persistent: role?.is_persistent ?? false,
  };
}

function known<T>(find: () => T): T | null {
  try {
    return find();
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}
