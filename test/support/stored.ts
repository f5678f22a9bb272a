import { mkdirSync } from 'node:fs';
import { homePaths } from '../../src/model/home.ts';
import { newSecret } from '../../src/model/id.ts';
import { hashToken } from '../../src/session/identity.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';
import { type Claim, claimTurn, takeLease } from '../../src/store/turn.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import type { Bench } from './drover.ts';

/** Works on a bench's database as another process of drover would. */
export async function withStore<T>(bench: Bench, work: (store: Store) => Promise<T>): Promise<T> {
  mkdirSync(homePaths.run(bench.drover_home), { recursive: true, mode: 0o700 });
  const gate = openWriteGate(homePaths.gate(bench.drover_home));
  const path = homePaths.database(bench.drover_home);
  const store = await openStore({ path, durability: 'full', clock: systemClock, gate });
  try {
    return await work(store);
  } finally {
    store.close();
    gate.close();
  }
}

/** Claims the next turn of a session and starts nothing: what a supervisor leaves that is killed right then. */
export async function claimOnly(bench: Bench, session_id: string): Promise<Claim> {
  return withStore(bench, async (store) => {
    const claim = await claimTurn(store, {
      session_id,
      lease_fence: await takeLease(store, 'test', systemClock.now()),
      marker: newSecret(),
      dir_of: (turn) => homePaths.turn(bench.drover_home, session_id, turn),
      token_hash: hashToken(newSecret()),
      max_in_flight: 1_000,
      now: systemClock.now(),
    });
    if (claim === null) throw new Error(`no turn of ${session_id} could be claimed`);
    return claim;
  });
}
