import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { brokenInvariants } from '../../src/store/invariants.ts';
import { testStore } from '../support/store.ts';
import { ENDINGS, Herd, type Step } from './herd.ts';

const who = fc.nat(4);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('sling' as const), who, has_parent: fc.boolean(), is_persistent: fc.boolean() }),
  fc.record({ do: fc.constant('claim' as const), who }),
  fc.record({ do: fc.constant('claim' as const), who }),
  fc.record({ do: fc.constant('settle' as const), who, ending: fc.constantFrom('ok' as const, ...ENDINGS) }),
  fc.record({
    do: fc.constant('mail' as const),
    who,
    whom: who,
    type: fc.constantFrom('status' as const, 'worker_done' as const, 'question' as const),
  }),
  fc.record({
    do: fc.constant('usage' as const),
    who,
    mode: fc.constantFrom('add' as const, 'turn' as const, 'thread' as const),
    tokens: fc.nat(50),
  }),
  fc.record({
    do: fc.constantFrom(
      'event' as const,
      'take' as const,
      'stop' as const,
      'pause' as const,
      'resume' as const,
      'bury' as const,
      'abort' as const,
      'release' as const,
    ),
    who,
  }),
);

test('whatever happens to a herd by way of the store, no rule is ever broken', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
      const world = await testStore();
      const herd = new Herd(world);
      await herd.step({ do: 'sling', who: 0, has_parent: false, is_persistent: false });
      for (const each of steps) await herd.step(each);
      expect(await brokenInvariants(world.store, herd.now)).toEqual([]);
    }),
    { numRuns: 25 },
  );
}, 60_000);
