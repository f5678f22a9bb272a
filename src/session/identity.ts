import { AppError } from '../model/error.ts';
import { OPERATOR } from '../model/mail.ts';
import { MARKER_VARIABLE } from '../model/marker.ts';
import type { SessionRow } from '../model/session.ts';
import { sessionByMarker, sessionByToken } from '../store/session.ts';
import { inheritedValues } from '../sys/ancestry.ts';
import type { Deps } from './deps.ts';

/** Tokens are kept hashed; only the session's own environment has the text. */
export function hashToken(token: string): string {
  return new Bun.CryptoHasher('sha256').update(token).digest('hex');
}

/** Who is calling. `session` is null for a person at a shell. */
export interface Caller {
  name: string;
  session: SessionRow | null;
}

/**
 * The caller is known by the token in its environment, never by what it says (ARCHITECTURE §6). Without one it is the
 * operator, unless it descends from a turn of this home that is in flight: dropping the token gains nothing. Throws `token_invalid` (3): a token of an ended session, or of an earlier turn, has no rights.
 */
export async function callerOf(deps: Pick<Deps, 'store' | 'env'>): Promise<Caller> {
  const token = deps.env.DROVER_TOKEN;
  if (!token) {
    if (deps.env.DROVER_SESSION_ID) throw tokenError('This shell belongs to a session but has no token.');
    for (const marker of inheritedValues(MARKER_VARIABLE)) {
      const session = await sessionByMarker(deps.store, marker);
      if (session !== null)
        throw tokenError(`This process was started by the session ${session.name} and has no token.`);
    }
    return { name: OPERATOR, session: null };
  }
  const session = await sessionByToken(deps.store, hashToken(token));
  if (session === null) throw tokenError('The session token is not valid (any more).');
  return { name: session.name, session };
}

function tokenError(message: string): AppError {
  return new AppError('refused', 'token_invalid', message, {
    hint: 'A token is valid during the turn it was made for. A person unsets DROVER_TOKEN and DROVER_SESSION_ID.',
    preserved: 'nothing was changed',
  });
}
