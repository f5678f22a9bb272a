import { expect, test } from 'bun:test';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { flockNow, isFlocked } from '../../src/sys/flock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { tempDir } from '../support/temp.ts';

const WRITER = resolve(import.meta.dir, '../fixtures/bin/gate-writer.ts');

test('flock: one holder at a time, a probe that sees it, and death or close lets go', () => {
  const path = join(tempDir(), 'x');
  expect(isFlocked(path)).toBe(false);
  const [first, second] = [openSync(path, 'a+'), openSync(path, 'a+')];
  expect(flockNow(first)).toBe(true);
  expect(isFlocked(path)).toBe(true);
  expect(flockNow(second)).toBe(false);
  closeSync(first);
  expect(isFlocked(path)).toBe(false);
  expect(flockNow(second)).toBe(true);
  closeSync(second);
});

test('gate: one inside at a time; who leaves lets the next one in', () => {
  const path = join(tempDir(), 'gate');
  const [one, two] = [openWriteGate(path), openWriteGate(path)];
  const leave = one.tryEnter();
  expect(leave).not.toBeNull();
  expect(isFlocked(path)).toBe(true);
  expect(two.tryEnter()).toBeNull();
  leave?.();
  expect(isFlocked(path)).toBe(false);
  two.tryEnter()?.();
  expect(isFlocked(path)).toBe(false);
  one.close();
  two.close();
});

test('gate: leaving frees it at once, also while a child is being started', async () => {
  const path = join(tempDir(), 'gate');
  const gate = openWriteGate(path);
  const children: Bun.Subprocess[] = [];
  let lingering = 0;
  for (let i = 0; i < 50; i++) {
    const leave = gate.tryEnter();
    if (leave === null) lingering++;
    children.push(Bun.spawn(['true']));
    leave?.();
    if (isFlocked(path)) lingering++;
  }
  await Promise.all(children.map((child) => child.exited));
  gate.close();
  expect(lingering).toBe(0);
});

test('gate: a path that cannot be opened is a typed error', () => {
  expect(() => openWriteGate(join(tempDir(), 'no', 'x'))).toThrow(expect.objectContaining({ code: 'file_not_found' }));
});

test('gate: processes that read, add and write behind it lose nothing', async () => {
  const dir = tempDir();
  const counter = join(dir, 'counter');
  writeFileSync(counter, '0');
  const writers = Array.from({ length: 4 }, () =>
    Bun.spawn([process.execPath, WRITER, join(dir, 'gate'), counter, '150'], { stderr: 'inherit' }),
  );
  expect(await Promise.all(writers.map((writer) => writer.exited))).toEqual([0, 0, 0, 0]);
  expect(readFileSync(counter, 'utf8')).toBe('600');
}, 60_000);
