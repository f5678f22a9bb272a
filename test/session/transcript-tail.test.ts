import { expect, test } from 'bun:test';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { quoteLines, transcriptTail } from '../../src/session/transcript-tail.ts';
import { feedTurn, seedSession, takeTurn, testStore } from '../support/store.ts';

async function tail(events: HarnessEvent[], limits = { events: 60, bytes: 8_192 }): Promise<string> {
  const world = await testStore();
  const taken = await takeTurn(world, (await seedSession(world)).id);
  await feedTurn(world, taken, events);
  return transcriptTail(world.deps, taken.session, limits);
}

const text = (words: string): HarnessEvent => ({ type: 'text', text: words });

test('the newest events as lines, pieces of one text together', async () => {
  const lines = await tail([
    text('I build'),
    { type: 'text', text: ' it', is_delta: true },
    { type: 'tool_use', tool: 'Bash', tool_id: 'a', input: 'make', files: [] },
    { type: 'tool_result', tool_id: 'a', is_error: true, output: '\u001b[31merror' },
    { type: 'error', message: 'odd', fatal: false },
  ]);
  expect(lines.split('\n').slice(1)).toEqual(['I build it', '→ Bash make', '✗ error', '! odd']);
});

test('so many events and so many bytes, and of one long line both ends', async () => {
  const many = Array.from({ length: 100 }, (_, i) => text(`line ${i}`));
  expect((await tail(many, { events: 3, bytes: 999 })).split('\n')).toEqual(['line 97', 'line 98', 'line 99']);
  expect(await tail(many, { events: 60, bytes: 16 })).toBe('line 98\nline 99');
  expect(
    Buffer.byteLength(await tail([text('é'.repeat(4_000)), text('end')], { events: 9, bytes: 1_500 })),
  ).toBeLessThan(1_500);
});

test('foreign text stands behind a mark on every line', () => {
  expect(quoteLines('a\nb\r\nc\rd\u2028e\u0085f')).toBe('| a\n| b\n| c\n| d\n| ef');
});
