import { expect, test } from 'bun:test';
import { Waiting } from '../../src/supervisor/waiting.ts';

test('who could not start is passed over for longer each time, at most half a minute', () => {
  const waiting = new Waiting();
  const pauses: number[] = [];
  let now = 1_000;
  for (let i = 0; i < 9; i += 1) {
    waiting.add('a', now);
    const start = now;
    while (waiting.has('a', now)) now += 100;
    pauses.push(now - start);
    waiting.polled(now);
  }
  expect(pauses).toEqual([400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 32_000, 32_000]);
  waiting.remove('a');
  waiting.add('a', now);
  expect([waiting.has('a', now + 399), waiting.has('a', now + 400), waiting.has('b', now)]).toEqual([
    true,
    false,
    false,
  ]);
});

test('a turn that ends makes way for its repository and for who was in the way of others, not for who never starts', () => {
  const waiting = new Waiting();
  waiting.close('/farm');
  for (const id of ['never', 'once']) waiting.add(id, 0);
  waiting.polled(400);
  waiting.add('never', 400);
  waiting.close('/farm');
  expect(waiting.shut).toEqual(['/farm']);
  waiting.freed();
  expect([waiting.shut, waiting.has('never', 401), waiting.has('once', 1)]).toEqual([[], true, false]);
});

test('between two polls only so many are tried in vain, and the poll says when somebody is due again', () => {
  const waiting = new Waiting();
  expect(waiting.polled(0)).toBe(false);
  for (let i = 0; waiting.tries > 0; i += 1) waiting.add(`s${i}`, 0);
  expect(waiting.size).toBe(64);
  expect([waiting.polled(1), waiting.tries]).toEqual([true, 64]);
  expect([waiting.polled(399), waiting.polled(400)]).toEqual([false, true]);
  waiting.close('/farm');
  expect([waiting.polled(401), waiting.shut]).toEqual([true, []]);
  // Whom nobody asks for any more is forgotten.
  waiting.polled(60_000);
  expect(waiting.size).toBe(0);
});
