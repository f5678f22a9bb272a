import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { openStore } from '../../src/store/open.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { tempDir } from '../support/temp.ts';

test('gate: whoever found it closed is seen to wait, until it gets in', () => {
  const path = join(tempDir('gate'), 'write.lock');
  const [one, two] = [openWriteGate(path), openWriteGate(path)];
  expect(one.isWanted()).toBe(false);
  const leave = one.tryEnter();
  expect(one.isWanted()).toBe(false);
  expect(two.tryEnter()).toBeNull();
  expect([one.isWanted(), two.isWanted()]).toEqual([true, true]);
  leave?.();
  expect(one.isWanted()).toBe(true);
  two.tryEnter()?.();
  expect([one.isWanted(), two.isWanted()]).toEqual([false, false]);
  one.close();
  two.close();
});

test('gate: one that waits and goes away without getting in is forgotten', () => {
  const path = join(tempDir('gate'), 'write.lock');
  const [one, two] = [openWriteGate(path), openWriteGate(path)];
  const leave = one.tryEnter();
  expect(two.tryEnter()).toBeNull();
  two.close();
  expect(one.isWanted()).toBe(false);
  leave?.();
  one.close();
});

test('gate: a run of writes makes a pause for those who wait, and only then', async () => {
  const dir = tempDir('gate');
  let isWanted = true;
  const gate = { tryEnter: () => () => undefined, isWanted: () => isWanted };
  const pauses: number[] = [];
  const clock = {
    ...systemClock,
    monotonic: () => 1_000,
    sleep: async (ms: number) => {
      pauses.push(ms);
    },
  };
  const store = await openStore({ path: join(dir, 'a.db'), durability: 'normal', clock, gate });
  await store.write(() => undefined);
  expect(pauses).toEqual([]);
  await store.write(() => undefined);
  expect(pauses).toHaveLength(1);
  isWanted = false;
  await store.write(() => undefined);
  expect(pauses).toHaveLength(1);
  store.close();
});
