import { expect, test } from 'bun:test';
import fc from 'fast-check';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { type Price, priceOf, TOKEN_KEYS, type TokenCounts } from '../../src/model/usage.ts';
import { ingest } from '../../src/store/ingest.ts';
import { brokenInvariants } from '../../src/store/invariants.ts';
import { getSession } from '../../src/store/session.ts';
import { endTurn, seedSession, type TakenTurn, takeTurn, testStore } from '../support/store.ts';
import { batch, started, usage } from './stream.ts';

const PRICE: Price = { input: 2, output: 10 };
const cost = (mode: 'add' | 'turn', cost_micros: number): HarnessEvent => ({ type: 'cost', mode, cost_micros });

test('tokens without a cost cost what the table says, and the row says so; without a price nothing is guessed', async () => {
  const { world, taken, rows } = await started();
  await ingest(world.store, [batch(taken, 0, [[usage('add', 100, 10)]])]);
  expect((await rows()).turn).toMatchObject({ cost_micros: null, is_cost_estimated: 0 });
  await ingest(world.store, [batch(taken, 1, [[usage('add', 50)]], { price: PRICE })]);
  expect((await rows()).turn).toMatchObject({ cost_micros: 400, is_cost_estimated: 1 });
  await ingest(world.store, [batch(taken, 2, [[{ type: 'text', text: 'hm' }]], { price: { input: 9, output: 9 } })]);
  expect((await rows()).session.cost_micros).toBe(400);
});

test('what the harness tells later takes the place of the estimate, exactly, and stays', async () => {
  for (const mode of ['add', 'turn'] as const) {
    const { world, taken, rows } = await started();
    const priced = (from: number, ...events: HarnessEvent[]) =>
      ingest(world.store, [batch(taken, from, [events], { price: PRICE })]);
    await priced(0, usage('add', 1_000));
    expect((await rows()).session.cost_micros).toBe(2_000);
    await priced(1, usage('add', 1_000), cost(mode, 7));
    expect((await rows()).turn).toMatchObject({ cost_micros: 7, is_cost_estimated: 0 });
    await priced(2, usage('add', 1_000));
    expect((await rows()).session.cost_micros).toBe(7);
    await priced(3, cost(mode, 5));
    expect((await rows()).session.cost_micros).toBe(mode === 'add' ? 12 : 5);
  }
});

const event = fc.oneof(
  fc
    .tuple(fc.constantFrom('add' as const, 'turn' as const, 'thread' as const), fc.nat(500), fc.nat(500))
    .map(([mode, input, output]) => usage(mode, input, output)),
  fc.tuple(fc.constantFrom('add' as const, 'turn' as const), fc.nat(9_999)).map(([mode, micros]) => cost(mode, micros)),
  fc.constant<HarnessEvent>({ type: 'text', text: 'hm' }),
);
const price = fc.option(fc.record({ input: fc.double({ min: 0, max: 99, noNaN: true }), output: fc.constant(3) }));
const story = fc.array(fc.tuple(fc.array(event, { maxLength: 4 }), price, fc.boolean()), {
  minLength: 3,
  maxLength: 25,
});

test('a session has cost what its turns have cost, whatever is guessed and told late; an estimate is the table’s (I18)', async () => {
  const world = await testStore();
  await fc.assert(
    fc.asyncProperty(story, async (batches) => {
      const { id } = await seedSession(world);
      let taken: TakenTurn = await takeTurn(world, id);
      let from = 0;
      let told: number | null = null;
      let guess: number | null = null;
      let before: TokenCounts = ZERO;
      for (const [events, price, isEnd] of batches) {
        const [row] = await ingest(world.store, [batch(taken, from, [events], { price })]);
        from += 1;
        if (row == null) throw new Error('the batch was refused');
        for (const each of events)
          if (each.type === 'cost') told = each.mode === 'add' ? (told ?? 0) + each.cost_micros : each.cost_micros;
        const isNew = TOKEN_KEYS.some((key) => row[key] !== before[key]);
        if (told === null && price !== null && isNew) guess = priceOf(row, price);
        expect([row.cost_micros, row.is_cost_estimated]).toEqual(
          told === null ? [guess, guess === null ? 0 : 1] : [told, 0],
        );
        before = row;
        if (!isEnd) continue;
        await endTurn(world, taken, { ok: false, settle: { max_attempts: 99 } });
        taken = await takeTurn(world, id);
        [from, told, guess, before] = [0, null, null, ZERO];
      }
      const sum = await world.store.read((tx) =>
        tx.get<{ cost: number | null }>('SELECT sum(cost_micros) AS cost FROM turns WHERE session_id = :id', { id }),
      );
      expect((await getSession(world.store, id))?.cost_micros ?? null).toBe(sum?.cost ?? null);
    }),
    { numRuns: 40 },
  );
  expect((await brokenInvariants(world.store, world.clock.now())).filter(({ id }) => id === 'I18')).toEqual([]);
}, 60_000);

const ZERO = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 };
