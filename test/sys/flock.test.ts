import { expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isFlocked, openGate, tryFlock } from '../../src/sys/flock.ts';
import { tempDir } from '../support/temp.ts';

const WRITER = resolve(import.meta.dir, '../fixtures/bin/gate-writer.ts');

test('flock: one holder at a time, and a probe that sees it', () => {
  const path = join(tempDir(), 'x');
  expect(isFlocked(path)).toBe(false);
  const first = tryFlock(path);
  expect(first).not.toBeNull();
  expect(isFlocked(path)).toBe(true);
  expect(tryFlock(path)).toBeNull();
  first?.release();
  expect(isFlocked(path)).toBe(false);
  const second = tryFlock(path);
  expect(second).not.toBeNull();
  second?.release();
});

test('flock: a path that cannot be opened is a typed error', () => {
  const dir = tempDir();
  expect(() => tryFlock(join(dir, 'no', 'x'))).toThrow(expect.objectContaining({ code: 'file_not_found' }));
});

test('flock: a release is a release, also while a child is being started', async () => {
  const path = join(tempDir(), 'x');
  const children: Bun.Subprocess[] = [];
  let lingering = 0;
  for (let i = 0; i < 50; i++) {
    const lock = tryFlock(path);
    if (lock === null) lingering++;
    children.push(Bun.spawn(['true']));
    lock?.release();
    if (isFlocked(path)) lingering++;
  }
  await Promise.all(children.map((child) => child.exited));
  expect(lingering).toBe(0);
});

test('gate: runs, gives the result, lets nested calls through and frees the lock, also after a throw', () => {
  const path = join(tempDir(), 'gate');
  const gate = openGate(path);
  const inside = gate.withFlock(() => {
    expect(gate.withFlock(() => isFlocked(path), 0)).toBe(true);
    return isFlocked(path);
  }, 0);
  expect(inside).toBe(true);
  expect(isFlocked(path)).toBe(false);
  const fail = () => {
    throw new Error('inner');
  };
  expect(() => gate.withFlock(fail, 0)).toThrow('inner');
  expect(isFlocked(path)).toBe(false);
  gate.close();
});

test('gate: the wait has an end, and then nothing was done', () => {
  const path = join(tempDir(), 'gate');
  const gate = openGate(path);
  const holder = tryFlock(path);
  let ran = false;
  const start = performance.now();
  const enter = () => {
    ran = true;
  };
  expect(() => gate.withFlock(enter, 30)).toThrow(expect.objectContaining({ code: 'gate_busy' }));
  expect(performance.now() - start).toBeGreaterThanOrEqual(30);
  expect(ran).toBe(false);
  holder?.release();
  gate.withFlock(enter, 0);
  expect(ran).toBe(true);
  gate.close();
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
}, 30_000);
