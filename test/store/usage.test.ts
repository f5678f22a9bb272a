import { describe, expect, test } from 'bun:test';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { settleTurn } from '../../src/store/settle.ts';
import { getTurn } from '../../src/store/turn.ts';
import { endTurn, feedTurn, type TakenTurn, type TestStore, takeTurn } from '../support/store.ts';
import { inputOf } from './family.ts';
import { session, started, usage } from './stream.ts';

/** Ends a turn without saying anything more. */
async function crash(world: TestStore, taken: TakenTurn): Promise<void> {
  expect(await settleTurn(world.store, inputOf(world, taken, { max_attempts: 9 }))).not.toBeNull();
}

describe('usage (I18)', () => {
  test('add counts up, over batches and turns', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [usage('add', 3, 1), usage('add', 4, 1)]);
    await feedTurn(world, taken, [usage('add', 5)]);
    expect((await rows()).turn).toMatchObject({ input_tokens: 12, output_tokens: 2 });
    await endTurn(world, taken, { ok: false });
    const second = await takeTurn(world, taken.session.id);
    await feedTurn(world, second, [usage('add', 100)]);
    expect((await rows()).session).toMatchObject({ input_tokens: 112, output_tokens: 2 });
  });

  test('turn replaces: the total of this process so far', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [usage('turn', 10, 2)]);
    await feedTurn(world, taken, [usage('turn', 25, 4), usage('turn', 30, 5)]);
    expect((await rows()).turn).toMatchObject({ input_tokens: 30, output_tokens: 5 });
    await endTurn(world, taken, { ok: false });
    await feedTurn(world, await takeTurn(world, taken.session.id), [usage('turn', 7)]);
    expect((await rows()).session).toMatchObject({ input_tokens: 37, output_tokens: 5 });
  });

  test('thread is the total of the conversation: a resumed turn counts only what is new', async () => {
    const { world, taken, rows } = await started();
    await feedTurn(world, taken, [session('t1'), usage('thread', 100, 10)]);
    await feedTurn(world, taken, [usage('thread', 150, 12)]);
    expect((await rows()).turn).toMatchObject({ input_tokens: 150, output_tokens: 12 });
    await crash(world, taken);
    const second = await takeTurn(world, taken.session.id);
    expect(second.turn.native_session_before).toBe('t1');
    await feedTurn(world, second, [session('t1'), usage('thread', 150, 12)]);
    await feedTurn(world, second, [usage('thread', 180, 20), usage('thread', 190, 21)]);
    expect(await getTurn(world.store, taken.session.id, 2)).toMatchObject({ input_tokens: 40, output_tokens: 9 });
    await crash(world, second);
    const third = await takeTurn(world, taken.session.id);
    await feedTurn(world, third, [session('t1')]);
    await crash(world, third);
    const fourth = await takeTurn(world, taken.session.id);
    await feedTurn(world, fourth, [session('t1'), usage('thread', 200, 21)]);
    expect(await getTurn(world.store, taken.session.id, 4)).toMatchObject({ input_tokens: 10, output_tokens: 0 });
    expect((await rows()).session).toMatchObject({ input_tokens: 200, output_tokens: 21 });
  });

  test('thread: another conversation counts from zero, in one batch or in two', async () => {
    for (const batches of [[[session('t2'), usage('thread', 30)]], [[session('t2')], [usage('thread', 30)]]]) {
      const { world, taken, rows } = await started();
      await feedTurn(world, taken, [session('t1'), usage('thread', 100)]);
      await crash(world, taken);
      const second = await takeTurn(world, taken.session.id);
      for (const each of batches) await feedTurn(world, second, each);
      await feedTurn(world, second, [usage('thread', 45)]);
      expect(await getTurn(world.store, taken.session.id, 2)).toMatchObject({ input_tokens: 45 });
      await crash(world, second);
      await feedTurn(world, await takeTurn(world, taken.session.id), [session('t2'), usage('thread', 50)]);
      expect((await rows()).session).toMatchObject({ input_tokens: 150, native_session_id: 't2' });
    }
  });

  test('cost: unknown is null; add counts up, turn replaces', async () => {
    const { world, taken, rows } = await started();
    const cost = (mode: 'add' | 'turn', cost_micros: number): HarnessEvent => ({ type: 'cost', mode, cost_micros });
    await feedTurn(world, taken, [usage('add', 1)]);
    expect((await rows()).session.cost_micros).toBeNull();
    await feedTurn(world, taken, [cost('turn', 500)]);
    await feedTurn(world, taken, [cost('turn', 700)]);
    expect((await rows()).session.cost_micros).toBe(700);
    await endTurn(world, taken, { ok: false });
    const second = await takeTurn(world, taken.session.id);
    await feedTurn(world, second, [cost('add', 30), cost('add', 40)]);
    await feedTurn(world, second, [cost('add', 0)]);
    expect((await rows()).session.cost_micros).toBe(770);
    expect(await getTurn(world.store, taken.session.id, 2)).toMatchObject({ cost_micros: 70 });
  });
});
