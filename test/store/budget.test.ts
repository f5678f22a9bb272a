import { expect, test } from 'bun:test';
import { percentSpent } from '../../src/model/budget.ts';
import {
  listBudgetsIn,
  newlyCrossed,
  noteCrossed,
  raiseBudget,
  readBudget,
  readSpent,
  setBudget,
} from '../../src/store/budget.ts';
import type { Store } from '../../src/store/store.ts';
import { endTurn, feedTurn, seedSession, takeTurn, testStore } from '../support/store.ts';

const RUN = { scope: 'run', key: 'run-1' } as const;
const NOTHING = {
  ...{ cost_micros: null, tokens: null, alerted_percent: 0, raised_count: 0, created_at: 1, updated_at: 1 },
};
const TOKENS = { cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 };

async function spending() {
  const world = await testStore();
  const { id } = await seedSession(world, { run_id: 'run-1', profile_name: 'fast' });
  const turn = await takeTurn(world, id);
  const spend = (input_tokens: number, cost_micros: number) =>
    feedTurn(world, turn, [
      { type: 'usage', mode: 'add', tokens: { ...TOKENS, input_tokens, output_tokens: 0 } },
      { type: 'cost', mode: 'add', cost_micros },
    ]);
  return { world, id, turn, spend };
}

test('what is spent by day, run, profile and session, while the turn still runs (E-120, E-124)', async () => {
  const { world, id, turn, spend } = await spending();
  await spend(90, 5);
  await spend(30, 2);
  const of = (scope: 'global' | 'run' | 'profile' | 'session', key: string, since = 0) =>
    world.store.read((tx) => readSpent(tx, { ...NOTHING, scope, key }, since).spent);
  const spent = { cost_micros: 7, tokens: 120 };
  expect(
    await Promise.all([of('global', 'default'), of('run', 'run-1'), of('profile', 'fast'), of('session', id)]),
  ).toEqual([spent, spent, spent, spent]);
  const nothing = { cost_micros: 0, tokens: 0 };
  const later = world.clock.now() + 60_000;
  // A turn that runs over midnight counts on both days; one that has ended before does not.
  expect(await Promise.all([of('global', 'default', later), of('profile', 'fast', later)])).toEqual([spent, spent]);
  await endTurn(world, turn);
  expect(await Promise.all([of('run', 'run-1', later), of('session', id, later)])).toEqual([spent, spent]);
  expect(
    await Promise.all([
      of('global', 'default', later),
      of('run', 'x'),
      of('profile', 'fast', later),
      of('session', 'x'),
    ]),
  ).toEqual([nothing, nothing, nothing, nothing]);
});

test('a threshold is told once, to one caller, and again after the budget was raised', async () => {
  const { world, spend } = await spending();
  await setBudget(world.store, { ...RUN, cost_micros: null, tokens: 100, now: 1 });
  const stores = [world.store, await world.second()];
  const crossOn = (store: Store, day: number) =>
    store.write((tx) => {
      const budget = readBudget(tx, RUN);
      if (budget === null) return [];
      const crossed = newlyCrossed(readSpent(tx, budget, day), [50, 80, 100], day);
      if (crossed.length > 0) noteCrossed(tx, RUN, crossed, 2);
      return crossed;
    });
  const cross = async () => (await Promise.all(stores.map((store) => crossOn(store, 0)))).flat();
  await spend(49, 1);
  expect(await cross()).toEqual([]);
  await spend(35, 1);
  expect(await cross()).toEqual([50, 80]);
  expect(await cross()).toEqual([]);
  await spend(36, 1);
  expect(await cross()).toEqual([100]);
  expect(await raiseBudget(world.store, { ...RUN, cost_micros: 0, tokens: 20, now: 3 })).toMatchObject({
    tokens: 120,
    raised_count: 1,
  });
  // Those that are still behind it are not told again, but that it is spent already.
  expect(await cross()).toEqual([100]);
  const more = await raiseBudget(world.store, { ...RUN, cost_micros: 0, tokens: 120, now: 3 });
  expect(more).toMatchObject({ tokens: 240, alerted_percent: 50 });
  expect(await cross()).toEqual([]);
  await spend(80, 1);
  expect(await cross()).toEqual([80]);
  // The budget of a run has no days.
  expect(await crossOn(world.store, 1_000)).toEqual([]);
});

test('two raises at once both count (I18); what has no bound cannot be raised', async () => {
  const world = await testStore();
  await setBudget(world.store, { ...RUN, cost_micros: 10, tokens: null, now: 1 });
  const stores = [world.store, await world.second()];
  await Promise.all(stores.map((store) => raiseBudget(store, { ...RUN, cost_micros: 5, tokens: 0, now: 2 })));
  expect(await world.store.read(listBudgetsIn)).toMatchObject([
    { scope: 'run', key: 'run-1', cost_micros: 20, tokens: null, raised_count: 2 },
  ]);
  for (const more of [{ tokens: 5 }, { key: 'x' }])
    await expect(
      raiseBudget(world.store, { ...RUN, cost_micros: 5, now: 3, tokens: 0, ...more }),
    ).rejects.toMatchObject({
      code: 'budget_not_found',
      message: expect.stringContaining('key' in more ? 'no budget of run x' : 'no bound in tokens'),
    });
  await expect(setBudget(world.store, { ...RUN, cost_micros: -1, tokens: null, now: 4 })).rejects.toThrow('CHECK');
});

test('the side that is nearer to its end counts; without a bound there is none', () => {
  expect(percentSpent({ cost_micros: 100, tokens: 10 }, { cost_micros: 50, tokens: 9 })).toBe(90);
  expect(percentSpent({ cost_micros: null, tokens: 10 }, { cost_micros: 50, tokens: 15 })).toBe(150);
  expect(percentSpent({ cost_micros: null, tokens: null }, { cost_micros: 50, tokens: 15 })).toBeNull();
});
