import { AppError } from '../model/error.ts';
import type { Capability } from '../model/role.ts';
import type { Deps } from './deps.ts';
import type { Caller } from './identity.ts';
import { loadRole } from './roles.ts';

/** Throws `not_allowed` (3) unless the caller is a person or its role grants the verb. */
export function demand(deps: Pick<Deps, 'package_dir' | 'env'>, caller: Caller, capability: Capability): void {
  if (caller.session === null) return;
  const role = loadRole(deps, caller.session.role);
  if (role.can.includes(capability)) return;
  throw new AppError('refused', 'not_allowed', `The role ${role.name} may not use ${capability}.`, {
    hint: 'Ask your parent or the operator by mail.',
    preserved: 'nothing was changed',
  });
}

/** Throws `not_allowed` (3) for every session: what all of them share is not for one of them to change. */
export function demandPerson(caller: Caller, what: string): void {
  if (caller.session === null) return;
  throw new AppError('refused', 'not_allowed', `A session may not ${what}; only a person may.`, {
    hint: 'Ask the operator by mail.',
    preserved: 'nothing was changed',
  });
}
