import type { HarnessEvent } from '../../src/model/harness.ts';
import type { SessionRow } from '../../src/model/session.ts';
import type { TurnRow } from '../../src/model/turn.ts';
import type { IngestInput } from '../../src/store/ingest.ts';
import { getSession } from '../../src/store/session.ts';
import { getTurn } from '../../src/store/turn.ts';
import { seedSession, type TakenTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

const tokens = (input_tokens: number, output_tokens = 0) => ({
  input_tokens,
  output_tokens,
  cache_read_tokens: 0,
  cache_write_tokens: 0,
  reasoning_tokens: 0,
});
export const usage = (mode: 'add' | 'turn' | 'thread', input: number, output = 0): HarnessEvent => ({
  type: 'usage',
  mode,
  tokens: tokens(input, output),
});
export const session = (id: string): HarnessEvent => ({
  type: 'session',
  native_session_id: id,
  model: null,
  version: null,
});
export const result = (ok: boolean, text = '', model_turns: number | null = 1): HarnessEvent => ({
  type: 'result',
  ok,
  reason: ok ? 'completed' : 'error',
  text,
  model_turns,
  denials: [],
});

export function batch(
  taken: TakenTurn,
  from: number,
  events: (HarnessEvent[] | null)[],
  more: Partial<IngestInput> = {},
): IngestInput {
  const lines = events.map((each, i) => ({ offset: from + i, end: from + i + 1, events: each }));
  const key = {
    session_id: taken.session.id,
    turn: taken.turn.turn,
    from_offset: from,
    to_offset: from + events.length,
  };
  return { ...key, lines, oversize: 0, now: 5_000, ...more };
}

export async function started(): Promise<{
  world: TestStore;
  taken: TakenTurn;
  rows: () => Promise<{ session: SessionRow; turn: TurnRow }>;
}> {
  const world = await testStore();
  const { id } = await seedSession(world);
  const taken = await takeTurn(world, id);
  const rows = async () => {
    const row = await getSession(world.store, id);
    const turn = await getTurn(world.store, id, taken.turn.turn);
    if (row === null || turn === null) throw new Error('gone');
    return { session: row, turn };
  };
  return { world, taken, rows };
}
