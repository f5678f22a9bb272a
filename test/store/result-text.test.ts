import { expect, test } from 'bun:test';
import { feedTurn } from '../support/store.ts';
import { started } from './stream.ts';

test('an answer that comes in pieces is put together, up to 64 KiB, over batches (C-03)', async () => {
  const { world, taken, rows } = await started();
  const pieces = Array.from({ length: 30 }, (_, i) => String.fromCharCode(97 + (i % 26)).repeat(4_000));
  for (let i = 0; i < pieces.length; i += 3) {
    const text = pieces
      .slice(i, i + 3)
      .map((piece) => ({ type: 'text' as const, text: piece, is_delta: true as const }));
    await feedTurn(world, taken, text);
    expect((await rows()).turn.result_text).toBe(
      pieces
        .slice(0, i + 3)
        .join('')
        .slice(0, 65_536),
    );
  }
  await feedTurn(world, taken, [{ type: 'text', text: 'a new one' }]);
  expect((await rows()).turn.result_text).toBe('a new one');
});
