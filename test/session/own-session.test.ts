import { describe, expect, test } from 'bun:test';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { homePaths } from '../../src/model/home.ts';
import { slotsFor } from '../../src/session/own-desks.ts';
import { startTurn } from '../../src/session/turn.ts';
import { getSession } from '../../src/store/session.ts';
import { takeLease } from '../../src/store/turn.ts';
import { seedSession, takeTurn, testStore } from '../support/store.ts';

describe('places for those who look after the others', () => {
  test('a few beside those of everybody, for drover’s own sessions alone', () => {
    const at = (repo_root: string) => slotsFor('/state', { repo_root }, { ...DEFAULT_CONFIG, max_live_sessions: 2 });
    expect([at('/farm'), at(homePaths.desk('/state', 'triage')), at(homePaths.desk('/state', 'patrol'))]).toEqual([
      2, 6, 6,
    ]);
  });

  test('a full house keeps others out', async () => {
    const world = await testStore();
    const deps = { ...world.deps, config_for: async () => ({ ...DEFAULT_CONFIG, max_live_sessions: 1 }) };
    await takeTurn(world, (await seedSession(world)).id);
    const { id } = await seedSession(world, { name: 'waits' });
    const fence = await takeLease(world.store, 'test', world.clock.now());
    expect(await startTurn(deps, id, fence)).toEqual({ started: null, why: 'none' });
    expect((await getSession(world.store, id))?.state).toBe('queued');
  });
});
