import { dirname } from 'node:path';
import { AppError } from '../model/error.ts';
import { newSecret } from '../model/id.ts';
import { OPERATOR } from '../model/mail.ts';
import { type CommandKind, commandMarker, MARKER_VARIABLE, parseCommandMarker } from '../model/marker.ts';
import type { SessionRow } from '../model/session.ts';
import { databaseFile, markersInFlight, sessionByMarker, sessionByToken } from '../store/session.ts';
import type { Store } from '../store/store.ts';
import { inheritedValues } from '../sys/ancestry.ts';
import { type GroupAround, groupsAround } from '../sys/cgroup.ts';
import { placeKey } from '../sys/directory.ts';
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
 * operator, unless it descends from a turn of this home that is in flight, or from a gate or a hook of it, or is in the
 * control group of one, which nobody sheds with the environment and the parents: dropping the token gains nothing.
 * Throws `token_invalid` (3): a token of an ended session, or of an earlier turn, has no rights.
 */
export async function callerOf(deps: Pick<Deps, 'store' | 'env'>): Promise<Caller> {
  const token = deps.env.DROVER_TOKEN;
  if (!token) {
    if (deps.env.DROVER_SESSION_ID) throw tokenError('This shell belongs to a session but has no token.');
    for (const marker of inheritedValues(MARKER_VARIABLE)) {
      await refuseCommand(deps.store, marker);
      const session = await sessionByMarker(deps.store, marker);
      if (session !== null)
        throw tokenError(`This process was started by the session ${session.name} and has no token.`);
    }
    await refuseGroups(deps.store);
    return { name: OPERATOR, session: null };
  }
  const session = await sessionByToken(deps.store, hashToken(token));
  if (session === null) throw tokenError('The session token is not valid (any more).');
  return { name: session.name, session };
}

/** For a gate or a hook that is about to run: proves its processes, and that no person speaks through them (`callerOf`). */
export async function newCommandMarker({ store }: Pick<Deps, 'store'>, kind: CommandKind): Promise<string> {
  return commandMarker(kind, await placeOf(store), newSecret());
}

/** Their code may come from a session's branch. Those of another home, as in a test of drover itself, are nothing to us. */
async function refuseCommand(store: Store, marker: string): Promise<void> {
  const command = parseCommandMarker(marker);
  if (command !== null && command.place === (await placeOf(store))) throw commandError(command.kind);
}

/** Whoever is in a control group of a turn or a command of this home came from it, whatever else it has shed. */
async function refuseGroups(store: Store): Promise<void> {
  for (const group of groupsAround(dirname(await databaseFile(store)))) {
    if (group.kind !== 'turn') throw commandError(group.kind);
    throw tokenError(`This process was started by ${await whose(store, group)} and has no token.`);
  }
}

async function whose(store: Store, group: GroupAround): Promise<string> {
  const turn = (await markersInFlight(store)).find(({ marker }) => group.isOf(marker));
  return turn === undefined ? 'a turn that is over,' : `the session ${turn.name}`;
}

function commandError(kind: CommandKind): AppError {
  return new AppError('refused', 'token_invalid', `This process was started by a ${kind}, and has no token.`, {
    hint: 'Gates and hooks may look at the state of drover and change nothing. A person does it in a shell of their own.',
    unsafe_condition: `the code that a ${kind} runs may come from a session`,
    preserved: 'nothing was changed',
  });
}

/** The same by whatever path the home is reached. */
async function placeOf(store: Store): Promise<string> {
  return placeKey(dirname(await databaseFile(store)));
}

function tokenError(message: string): AppError {
  return new AppError('refused', 'token_invalid', message, {
    hint: 'A token is valid during the turn it was made for. A person unsets DROVER_TOKEN and DROVER_SESSION_ID.',
    preserved: 'nothing was changed',
  });
}
