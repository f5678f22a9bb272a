import { expect, test } from 'bun:test';
import { ANSWER_LIMIT, isCutAnswer } from '../../src/model/harness.ts';
import { feedTurn } from '../support/store.ts';
import { started } from './stream.ts';

test('an answer that comes in pieces is put together, up to its limit, over batches (C-03)', async () => {
  const { world, taken, rows } = await started();
  const pieces = Array.from({ length: 30 }, (_, i) => String.fromCharCode(97 + (i % 26)).repeat(16_000));
  for (let i = 0; i < pieces.length; i += 3) {
    const text = pieces
      .slice(i, i + 3)
      .map((piece) => ({ type: 'text' as const, text: piece, is_delta: true as const }));
    await feedTurn(world, taken, text);
    const whole = pieces.slice(0, i + 3).join('');
    const kept = (await rows()).turn.result_text ?? '';
    expect(isCutAnswer(kept)).toBe(whole.length > ANSWER_LIMIT);
    expect(isCutAnswer(kept) ? kept.slice(0, ANSWER_LIMIT) : kept).toBe(whole.slice(0, ANSWER_LIMIT));
  }
  await feedTurn(world, taken, [{ type: 'text', text: 'a new one' }]);
  expect((await rows()).turn.result_text).toBe('a new one');
});

test('a long answer stands whole with its turn, its event has no more than its start (C-03)', async () => {
  const { world, taken, rows } = await started();
  const text = JSON.stringify(Array.from({ length: 4_000 }, (_, i) => `src/part/file-${i}.ts`));
  await feedTurn(world, taken, [{ type: 'result', ok: true, reason: 'completed', text, model_turns: 1, denials: [] }]);
  expect((await rows()).turn.result_text).toBe(text);
  const event = await world.store.read((tx) =>
    tx.get<{ data_json: string }>("SELECT data_json FROM events WHERE type = 'result'"),
  );
  expect(event?.data_json.length).toBeLessThan(1_000);
});
