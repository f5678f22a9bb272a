import type { SessionRow } from '../model/session.ts';
import { getSession } from '../store/session.ts';
import type { Store } from '../store/store.ts';
import { listTurns } from '../store/turn-list.ts';
import type { Context } from './context.ts';

/** What one call of `logs` reads: a session, or one turn of it. */
export interface LogSource {
  context: Context;
  store: Store;
  session: SessionRow;
  turn: number | null;
  isFollowing: boolean;
}

/** Nothing will be added any more: the session has ended and no turn of it runs, or the one wanted turn has ended. */
export async function isOver({ store, session, turn }: LogSource): Promise<boolean> {
  const turns = await listTurns(store, session.id);
  const own = turn === null ? null : turns.find((row) => row.turn === turn);
  if (own) return own.ended_at !== null;
  const row = await getSession(store, session.id);
  return (row === null || row.ended_at !== null) && turns.every((each) => each.ended_at !== null);
}
